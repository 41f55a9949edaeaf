using System.CommandLine;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Benchmarks.Kernels;

/// <summary><c>micro</c>: each product of a decoder by itself, beside the peaks measured just before it.</summary>
internal static class MicroCommand
{
    private static readonly string[] Formats = ["stored", "bf16", "int8", "int4"];

    private static readonly (string Model, int Outputs, int Inputs)[] Shapes =
    [
        ("1.1B", 2048, 2048), ("1.1B", 5632, 2048), ("1.1B", 2048, 5632), ("1.1B", 32000, 2048),
        ("110M", 768, 768), ("110M", 2048, 768), ("110M", 768, 2048),
    ];

    // One layer each; the first is what the ladder of attention was once measured with.
    private static readonly AttentionCase[] Attentions =
    [
        new("decode", 1, 1, 4096, 16, 4, 64),
        new("1.1B decode", 1, 1, 640, 32, 4, 64), new("1.1B decode", 16, 1, 640, 32, 4, 64), new("1.1B prefill", 1, 512, 512, 32, 4, 64),
        new("110M decode", 1, 1, 640, 12, 12, 64), new("110M decode", 16, 1, 640, 12, 12, 64), new("110M prefill", 1, 512, 512, 12, 12, 64),
    ];

    public static Command Create()
    {
        Option<string[]> formats = Several("--format", "Weight formats: stored (bf16, fp32 arithmetic), bf16, int8, int4.", Formats);
        Option<string[]> families = Several("--kernels", "Kernel families: auto (the fastest), avx512, avx-vnni, avx2, portable.", ["auto"]);
        Option<string[]> weights = Several("--weight", "Other weights than the models', each OUTPUTSxINPUTS.", []);
        var model = new Option<string>("--model") { Description = "Weights of 1.1B, 110M or both.", DefaultValueFactory = _ => "both" };
        var rows = new Option<int[]>("--rows") { Description = "Rows of x.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1, 4, 16, 64, 512] };
        var threads = new Option<int>("--threads") { Description = "Worker threads.", DefaultValueFactory = _ => Environment.ProcessorCount };
        var tiles = new Option<bool>("--tiles") { Description = "The kernels alone, their operands in the caches, instead of whole products." };
        var attention = new Option<bool>("--attention") { Description = "Attention over bf16 keys and values instead of products." };
        var output = ResultFile.OutOption();
        OptionRules.AtLeastOne(threads);
        OptionRules.EachAtLeastOne(rows);
        OptionRules.OneOf(model, ["1.1B", "110M", "both"]);
        OptionRules.EachOf(formats, Formats);
        OptionRules.EachOneOf(families, [.. EngineOptionSet.FamilyWords]);
        OptionRules.EachOf(weights, text => Parse(text).Outputs > 0, "two whole numbers such as 2048x768, the second a multiple of 32");
        var command = new Command("micro", "G op/s and GB/s of each product with the fraction of the peaks measured in the same run.")
        {
            formats, families, weights, model, rows, threads, tiles, attention, output,
        };
        command.SetAction(parsed =>
        {
            string[] named = parsed.GetRequiredValue(families), given = parsed.GetRequiredValue(weights);
            string models = parsed.GetRequiredValue(model);
            int workers = parsed.GetValue(threads);
            KernelFamily best = KernelFamilyExtensions.Best(SimdPathExtensions.Best);
            KernelFamily[] chosen = [.. named.Select(name => EngineOptionSet.Family(name) ?? best)];
            WeightFormat[] held = [.. parsed.GetRequiredValue(formats).Select(name => Enum.Parse<WeightFormat>(name, ignoreCase: true))];
            var cases = chosen.SelectMany(family => held.Select(format => (family, format))).ToList();
            (string Model, int Outputs, int Inputs)[] shapes =
                given.Length > 0 ? [.. given.Select(Parse)] : [.. Shapes.Where(shape => models == "both" || models == shape.Model)];
            using var meter = new CpuBackend(workers);
            bool attends = parsed.GetValue(attention);
            ResultTable table = attends ? Attention(meter)
                : parsed.GetValue(tiles) ? Tiles(cases, meter)
                : Products(cases, shapes, parsed.GetRequiredValue(rows), meter);
            Roofline roofline = Roofline.Measure(meter);
            ResultFile.Publish(
                $"micro{(attends ? " --attention" : parsed.GetValue(tiles) ? " --tiles" : "")}, {workers} threads; machine reads {roofline.BytesPerSecond / 1e9:F1} GB/s, computes "
                + $"{roofline.FlopsPerSecond / 1e9:F0} fp32, {roofline.ByteOpsPerSecond / 1e9:F0} byte, {roofline.BF16OpsPerSecond / 1e9:F0} bfloat16 G op/s",
                table, parsed.GetValue(output));
        });
        return command;
    }

    private static ResultTable Products(
        List<(KernelFamily Family, WeightFormat Format)> cases, (string Model, int Outputs, int Inputs)[] shapes, int[] rows, CpuBackend meter)
    {
        var table = new ResultTable("Kernels", "Format", "Weight", "Rows", "µs", "G op/s", "of peak", "GB/s", "of bandwidth");
        foreach ((KernelFamily family, WeightFormat format) in cases)
        {
            foreach ((_, int outputs, int inputs) in shapes)
            {
                Roofline roofline = Roofline.Measure(meter); // anew each time: neighbours and clocks change
                using var run = new ProductRun(new CpuBackend(meter.Threads, null, family), format, outputs, inputs, rows.Max());
                foreach (int count in rows)
                {
                    double seconds = run.Measure(count), operations = 2.0 * count * outputs * inputs / seconds, bytes = run.WeightBytes / seconds;
                    table.Add(
                        format == WeightFormat.Stored ? "–" : $"{family}", Name(format), $"{outputs} × {inputs}", $"{count}", $"{seconds * 1e6:F1}",
                        $"{operations / 1e9:F0}", $"{operations / roofline.OpsPerSecond(format):P0}",
                        $"{bytes / 1e9:F1}", $"{bytes / roofline.BytesPerSecond:P0}");
                }
            }
        }

        return table;
    }

    private static ResultTable Attention(CpuBackend meter)
    {
        var table = new ResultTable("Attention", "Sequences", "Rows", "Slots", "Heads", "µs", "GB/s", "of bandwidth", "G op/s", "of fp32 peak");
        foreach (AttentionCase shape in Attentions)
        {
            Roofline roofline = Roofline.Measure(meter);
            using var run = new AttentionRun(new CpuBackend(meter.Threads), shape);
            double seconds = run.Measure();
            table.Add(
                shape.Name, $"{shape.Sequences}", $"{shape.Rows}", $"{shape.Slots}", $"{shape.Heads} over {shape.KvHeads} of {shape.HeadDim}", $"{seconds * 1e6:F1}",
                $"{shape.Bytes / seconds / 1e9:F1}", $"{shape.Bytes / seconds / roofline.BytesPerSecond:P0}",
                $"{shape.Operations / seconds / 1e9:F0}", $"{shape.Operations / seconds / roofline.FlopsPerSecond:P0}");
        }

        return table;
    }

    private static ResultTable Tiles(List<(KernelFamily Family, WeightFormat Format)> cases, CpuBackend meter)
    {
        var table = new ResultTable("Kernels", "Format", "Rows", "G op/s", "of peak");
        foreach ((KernelFamily family, WeightFormat format) in cases.Where(each => each.Format != WeightFormat.Stored))
        {
            using var backend = new CpuBackend(meter.Threads, null, family);
            for (int rows = 1; rows <= TileSpeed.MaxRows(backend, format); rows++)
            {
                double peak = Roofline.OpsPerSecond(meter, format), rate = TileSpeed.Measure(backend, format, rows);
                table.Add($"{family}", Name(format), $"{rows}", $"{rate / 1e9:F0}", $"{rate / peak:P0}");
            }
        }

        return table;
    }

    private static string Name(WeightFormat format) => format == WeightFormat.Stored ? "stored bf16" : Formats[(int)format];

    private static Option<string[]> Several(string name, string description, string[] values) =>
        new(name) { Description = description, AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => values };

    /// <summary>Outputs and inputs; zeros when the text is not a weight.</summary>
    private static (string Model, int Outputs, int Inputs) Parse(string text)
    {
        string[] parts = text.Split('x');
        return parts.Length == 2 && int.TryParse(parts[0], out int outputs) && int.TryParse(parts[1], out int inputs) && inputs % 32 == 0 && inputs > 0
            ? ("", outputs, inputs)
            : default;
    }
}
