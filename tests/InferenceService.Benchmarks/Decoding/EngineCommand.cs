using System.CommandLine;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Decoding;

/// <summary><c>engine</c>: prefill and decode tokens a second through the real engine, beside what the machine allows.</summary>
internal static class EngineCommand
{
    public static Command Create()
    {
        var engine = new EngineOptionSet();
        var model = new Option<string?>("--model") { Description = "Checkpoint folder." };
        var shape = new Option<string>("--shape") { Description = $"Random weights instead: {string.Join(", ", BenchmarkShape.Names)}.", DefaultValueFactory = _ => "small" };
        var stored = new Option<DType>("--stored") { Description = "Element type of random weights as stored.", DefaultValueFactory = _ => DType.BF16 };
        var kvType = new Option<DType>("--kv-type") { Description = "Element type of the KV cache.", DefaultValueFactory = _ => DType.BF16 };
        var kvBits = new Option<int>("--kv-bits") { Description = "Bits of old keys and values: 16 (as the type), 8 or 4.", DefaultValueFactory = _ => 16 };
        var prompt = new Option<int>("--prompt") { Description = "Prompt tokens.", DefaultValueFactory = _ => 512 };
        var generate = new Option<int>("--generate") { Description = "Generated tokens, at least 3.", DefaultValueFactory = _ => 128 };
        var batches = new Option<int[]>("--batch")
        {
            Description = "Sequences at once; several allowed.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [1, 4, 16, 64],
        };
        var sampled = new Option<bool>("--sampled") { Description = "Temperature 0.8, top-k 40, top-p 0.95 instead of greedy." };
        var rounds = new Option<int>("--rounds") { Description = "Rounds; medians are reported.", DefaultValueFactory = _ => 5 };
        Option<string?> output = ResultFile.OutOption();
        OptionRules.OneOf(shape, BenchmarkShape.Names);
        OptionRules.OneOf(stored, DType.F32, DType.F16, DType.BF16);
        OptionRules.OneOf(kvType, DType.F32, DType.F16, DType.BF16);
        OptionRules.OneOf(kvBits, 16, 8, 4);
        OptionRules.AtLeastOne(prompt, rounds);
        OptionRules.AtLeast(3, generate);
        OptionRules.EachAtLeastOne(batches);
        OptionRules.Folder(model);
        var command = new Command("engine", "Prefill and decode tokens/s with the fraction of measured peak and bandwidth, and the time outside kernels.")
        {
            model, shape, stored, engine.Weights, engine.Kernels, engine.Threads, kvType, kvBits, prompt, generate, batches, sampled, rounds, output,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var opened = new BenchmarkModel(parsed.GetValue(model), parsed.GetRequiredValue(shape), parsed.GetValue(stored));
            int[] sequences = parsed.GetRequiredValue(batches);
            int bits = parsed.GetValue(kvBits);
            var settings = new EngineSettings
            {
                Format = engine.Format(parsed),
                Kernels = engine.Family(parsed),
                Threads = parsed.GetValue(engine.Threads),
                Sequences = sequences.Max(),
                Length = parsed.GetValue(prompt) + parsed.GetValue(generate) + 1,
                KvType = parsed.GetValue(kvType),
                KvPackedBits = bits == 16 ? 0 : bits,
            };
            var plan = new Plan(sequences, parsed.GetValue(prompt), parsed.GetValue(generate), parsed.GetValue(rounds), parsed.GetValue(sampled));
            using var meter = new CpuBackend(settings.Threads);
            Roofline roofline = Roofline.Measure(meter);
            await using LoadedEngine loaded = LoadedEngine.Open(opened, settings);
            ResultTable table = await MeasureAsync(opened, loaded, settings, plan, meter, roofline, cancellation);
            string kept = bits == 16 ? "" : $" (old in {bits} bits)";
            ResultFile.Publish(
                $"engine {opened.Name}, {EngineOptionSet.Word(settings.Format, opened.Type)}, {settings.KvType} KV{kept}, prompt {plan.Prompt}, "
                + $"generate {plan.Generate}{(plan.Sampled ? ", sampled" : "")}, {settings.Threads} threads, {loaded.Kernels} kernels; "
                + $"machine reads {roofline.BytesPerSecond / 1e9:F1} GB/s, computes {roofline.FlopsPerSecond / 1e9:F0} GFLOP/s in fp32",
                table, parsed.GetValue(output));
        });
        return command;
    }

    private static async Task<ResultTable> MeasureAsync(
        BenchmarkModel model, LoadedEngine loaded, EngineSettings settings, Plan plan, CpuBackend meter, Roofline roofline, CancellationToken cancellation)
    {
        var run = new EngineRun(loaded, plan.Sampled ? new SamplingParams { Temperature = 0.8f, TopK = 40, TopP = 0.95f, Seed = 1 } : null);
        var table = new ResultTable("Sequences", "Prefill tokens/s", "of fp32 peak", "Decode tokens/s", "of read bandwidth", "of fp32 peak", "outside kernels");
        await run.PrefillAsync(plan.Prompt, cancellation);
        await run.DecodeAsync(1, plan.Prompt, plan.Generate, cancellation);
        double flopsPerToken = 2.0 * BenchmarkShape.MatrixElements(model.Config);
        foreach (int count in plan.Batches)
        {
            var prefill = new Distribution();
            var decode = new Distribution();
            var ofBandwidth = new Distribution();
            var outside = new Distribution();
            double bytesPerStep = model.MatrixBytes(settings.Format)
                + (double)count * (plan.Prompt + plan.Generate / 2.0) * BenchmarkShape.KvBytesPerToken(model.Config, settings.KvType.Size());
            for (int round = 0; round < plan.Rounds; round++)
            {
                // The machine's bandwidth changes with its neighbours: each round is held against what it read just before and after,
                // mean rate against median pass.
                double[] before = Bandwidth.Passes(meter);
                prefill.Add(await run.PrefillAsync(plan.Prompt, cancellation));
                (double rate, double outsideShare) = await run.DecodeAsync(count, plan.Prompt, plan.Generate, cancellation);
                var bandwidth = new Distribution();
                foreach (double pass in (double[])[.. before, .. Bandwidth.Passes(meter)])
                    bandwidth.Add(pass);
                decode.Add(rate);
                outside.Add(outsideShare);
                ofBandwidth.Add(rate / count * bytesPerStep / bandwidth.Median);
            }

            table.Add(
                $"{count}", $"{prefill.Median:F0}", $"{prefill.Median * flopsPerToken / roofline.FlopsPerSecond:P0}", $"{decode.Median:F1}",
                $"{ofBandwidth.Median:P0}", $"{decode.Median * flopsPerToken / roofline.FlopsPerSecond:P0}", $"{outside.Median:P1}");
        }

        return table;
    }

    /// <summary>What is run on the engine.</summary>
    private sealed record Plan(int[] Batches, int Prompt, int Generate, int Rounds, bool Sampled);
}
