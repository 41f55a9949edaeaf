using System.CommandLine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Machine;

/// <summary><c>roofline</c>: what this machine can do at best.</summary>
internal static class RooflineCommand
{
    public static Command Create()
    {
        var threads = new Option<int>("--threads") { Description = "Worker threads.", DefaultValueFactory = _ => Environment.ProcessorCount };
        var output = ResultFile.OutOption();
        var command = new Command("roofline", "Measures read bandwidth and the peaks of fp32, byte and bfloat16 arithmetic.") { threads, output };
        command.SetAction(parsed =>
        {
            using var backend = new CpuBackend(parsed.GetValue(threads));
            Roofline roofline = Roofline.Measure(backend);
            var table = new ResultTable("Ceiling", "Measured");
            table.Add("read bandwidth", $"{roofline.BytesPerSecond / 1e9:F1} GB/s");
            table.Add("fp32 multiply-add", $"{roofline.FlopsPerSecond / 1e9:F0} GFLOP/s");
            if (roofline.ByteOpsPerSecond > 0)
                table.Add("byte dot products (VNNI)", $"{roofline.ByteOpsPerSecond / 1e9:F0} G op/s");
            if (roofline.BF16OpsPerSecond > 0)
                table.Add("bfloat16 dot products", $"{roofline.BF16OpsPerSecond / 1e9:F0} G op/s");
            ResultFile.Publish($"roofline, {parsed.GetValue(threads)} threads", table, parsed.GetValue(output));
        });
        return command;
    }
}
