using System.CommandLine;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Kernels;

/// <summary><c>micro</c>: each product of a decoder by itself, beside the peaks measured in the same run.</summary>
internal static class MicroCommand
{
    private static readonly (string Model, int Outputs, int Inputs)[] Shapes =
    [
        ("1.1B", 2048, 2048), ("1.1B", 5632, 2048), ("1.1B", 2048, 5632), ("1.1B", 32000, 2048),
        ("110M", 768, 768), ("110M", 2048, 768), ("110M", 768, 2048),
    ];

    public static Command Create()
    {
        var formats = new Option<string[]>("--format")
        {
            Description = "Weight formats: stored (bf16), bf16, int8, int4.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => ["stored", "bf16", "int8", "int4"],
        };
        var families = new Option<string[]>("--kernels")
        {
            Description = "Kernel families; the best one unless named.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [],
        };
        var model = new Option<string>("--model") { Description = "Shapes of 1.1B, 110M or both.", DefaultValueFactory = _ => "both" };
        var rows = new Option<int[]>("--rows") { Description = "Rows of x.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1, 4, 16, 64, 512] };
        var weights = new Option<string[]>("--weight") { Description = "Other weights, each OUTPUTSxINPUTS.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [] };
        var threads = new Option<int>("--threads") { Description = "Worker threads.", DefaultValueFactory = _ => Environment.ProcessorCount };
        var output = ResultFile.OutOption();
        OptionRules.AtLeastOne(threads);
        OptionRules.EachAtLeastOne(rows);
        OptionRules.EachOf(weights, text => Parse(text).Outputs > 0, "two whole numbers such as 2048x768, the second a multiple of 32");
        OptionRules.OneOf(model, ["1.1B", "110M", "both"]);
        OptionRules.EachOf(formats, ["stored", "bf16", "int8", "int4"]);
        OptionRules.EachOf(families, Enum.GetNames<KernelFamily>());
        var command = new Command("micro", "G op/s and GB/s of each product with the fraction of the peaks measured in the same run.") { formats, families, model, weights, rows, threads, output };
        command.SetAction(parsed =>
        {
            string[] named = parsed.GetRequiredValue(families);
            KernelFamily[] chosen = named.Length > 0 ? [.. named.Select(name => Enum.Parse<KernelFamily>(name, ignoreCase: true))] : [KernelFamilyExtensions.Best(SimdPathExtensions.Best)];
            string[] given = parsed.GetRequiredValue(weights);
            string models = parsed.GetRequiredValue(model);
            (string Model, int Outputs, int Inputs)[] shapes = given.Length > 0 ? [.. given.Select(Parse)] : [.. Shapes.Where(shape => models == "both" || models == shape.Model)];
            using var meter = new CpuBackend(parsed.GetValue(threads));
            Roofline roofline = Roofline.Measure(meter);
            var table = new ResultTable("Kernels", "Format", "Weight", "Rows", "µs", "G op/s", "of peak", "GB/s", "of bandwidth");
            foreach (KernelFamily family in chosen)
            {
                foreach (string name in parsed.GetRequiredValue(formats))
                {
                    WeightFormat format = Enum.Parse<WeightFormat>(name, ignoreCase: true);
                    foreach ((string Model, int Outputs, int Inputs) shape in shapes)
                    {
                        using var run = new ProductRun(new CpuBackend(parsed.GetValue(threads), null, family), format, shape.Outputs, shape.Inputs, parsed.GetRequiredValue(rows).Max());
                        foreach (int count in parsed.GetRequiredValue(rows))
                        {
                            double seconds = run.Measure(count), operations = 2.0 * count * shape.Outputs * shape.Inputs / seconds, bytes = run.WeightBytes / seconds;
                            table.Add(
                                format == WeightFormat.Stored ? "–" : $"{family}", format == WeightFormat.Stored ? "stored bf16" : name, $"{shape.Outputs} × {shape.Inputs}", $"{count}", $"{seconds * 1e6:F1}",
                                $"{operations / 1e9:F0}", $"{operations / roofline.OpsPerSecond(format):P0}", $"{bytes / 1e9:F1}", $"{bytes / roofline.BytesPerSecond:P0}");
                        }
                    }
                }
            }

            ResultFile.Publish(
                $"micro, {parsed.GetValue(threads)} threads; machine reads {roofline.BytesPerSecond / 1e9:F1} GB/s, computes {roofline.FlopsPerSecond / 1e9:F0} fp32, "
                + $"{roofline.ByteOpsPerSecond / 1e9:F0} byte, {roofline.BF16OpsPerSecond / 1e9:F0} bfloat16 G op/s",
                table, parsed.GetValue(output));
        });
        return command;
    }

    /// <summary>Outputs and inputs; zeros when the text is not a weight.</summary>
    private static (string Model, int Outputs, int Inputs) Parse(string text)
    {
        string[] parts = text.Split('x');
        return parts.Length == 2 && int.TryParse(parts[0], out int outputs) && int.TryParse(parts[1], out int inputs) && inputs % 32 == 0 && inputs > 0 ? ("", outputs, inputs) : default;
    }
}
