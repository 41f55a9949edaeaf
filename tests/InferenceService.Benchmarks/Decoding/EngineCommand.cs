using System.CommandLine;
using System.Globalization;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Benchmarks.Decoding;

/// <summary><c>decoder</c>: prefill and decode tokens a second through the real engine, beside what the machine allows.</summary>
internal static class DecoderCommand
{
    public static Command Create()
    {
        var model = new Option<string?>("--model") { Description = "Checkpoint folder." };
        var shape = new Option<string>("--shape") { Description = "Random weights instead: tiny, small or tinyllama.", DefaultValueFactory = _ => "small" };
        var weights = new Option<DType>("--weights") { Description = "Element type of random weights.", DefaultValueFactory = _ => DType.BF16 };
        var kvType = new Option<DType>("--kv-type") { Description = "Element type of the KV cache.", DefaultValueFactory = _ => DType.BF16 };
        var kvBits = new Option<int>("--kv-bits") { Description = "Bits of old keys and values: 16 (as the type), 8 or 4.", DefaultValueFactory = _ => 16 };
        var threads = new Option<int>("--threads") { Description = "Worker threads.", DefaultValueFactory = _ => Environment.ProcessorCount };
        var prompt = new Option<int>("--prompt") { Description = "Prompt tokens.", DefaultValueFactory = _ => 512 };
        var generate = new Option<int>("--generate") { Description = "Generated tokens.", DefaultValueFactory = _ => 128 };
        var batches = new Option<int[]>("--batch")
        {
            Description = "Sequences at once; several allowed.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [1, 4, 16],
        };
        var rounds = new Option<int>("--rounds") { Description = "Rounds; medians are reported.", DefaultValueFactory = _ => 5 };
        var output = ResultFile.OutOption();
        OptionRules.OneOf(shape, BenchmarkShape.Names);
        OptionRules.OneOf(weights, DType.F32, DType.F16, DType.BF16);
        OptionRules.OneOf(kvType, DType.F32, DType.F16, DType.BF16);
        OptionRules.OneOf(kvBits, 16, 8, 4);
        OptionRules.AtLeastOne(threads, prompt, generate, rounds);
        OptionRules.EachAtLeastOne(batches);
        OptionRules.Folder(model);
        var command = new Command("decoder", "Prefill and decode tokens/s with the fraction of measured peak and bandwidth.")
        {
            model, shape, weights, kvType, kvBits, threads, prompt, generate, batches, rounds, output,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var backend = new CpuBackend(parsed.GetValue(threads));
            using var meter = new CpuBackend(parsed.GetValue(threads));
            Roofline roofline = Roofline.Measure(meter);
            string? folder = parsed.GetValue(model);
            using Checkpoint? checkpoint = folder is null ? null : Checkpoint.Open(folder);
            ModelConfig config = checkpoint?.Config ?? BenchmarkShape.Config(parsed.GetRequiredValue(shape));
            DType type = checkpoint is null ? parsed.GetValue(weights) : config.StatedType ?? DType.BF16;
            int tokens = parsed.GetValue(prompt), generated = parsed.GetValue(generate);
            int[] sequences = parsed.GetRequiredValue(batches);
            int bits = parsed.GetValue(kvBits);
            IKvPolicy policy = KvPolicyRegistry.Create("full", new Dictionary<string, string> { ["key_bits"] = bits.ToString(CultureInfo.InvariantCulture) });
            EngineOptions options = Options(config, tokens + generated + 1, sequences.Max(), parsed.GetValue(kvType), bits == 16 ? 0 : bits);
            IWeightSource source = checkpoint is not null ? checkpoint : new RandomWeights(config, seed: 1234, type);
            KvLayout layout = policy.Layout(config);
            int logitRows = options.MaxNumSeqs + (layout.IsCyclic ? options.PromptChunkTokens : 0);
            DecoderModel decoder = DecoderModel.Load(config, source, backend, layout, new DecoderLimits(options.MaxBatchTokens, logitRows));
            await using var engine = new InferenceEngine(decoder, policy, options, TimeProvider.System);
            var run = new DecoderRun(engine, tokens, generated);
            var table = new ResultTable("Sequences", "Prefill tokens/s", "of fp32 peak", "Decode tokens/s", "of read bandwidth", "of fp32 peak");
            await run.MeasureAsync(1, cancellation);
            foreach (int count in sequences)
            {
                var prefill = new Distribution();
                var decode = new Distribution();
                var ofBandwidth = new Distribution();
                double flopsPerToken = 2.0 * BenchmarkShape.MatrixElements(config);
                double bytesPerStep = (double)BenchmarkShape.MatrixElements(config) * type.Size()
                    + (double)count * (tokens + generated / 2.0) * BenchmarkShape.KvBytesPerToken(config, options.KvType.Size());
                for (int round = 0; round < parsed.GetValue(rounds); round++)
                {
                    // The machine's bandwidth changes with its neighbours: each round is held against what it read just before and after,
                    // mean rate against median pass.
                    double[] before = Bandwidth.Passes(meter);
                    (double prefillRate, double decodeRate) = await run.MeasureAsync(count, cancellation);
                    var bandwidth = new Distribution();
                    foreach (double rate in (double[])[.. before, .. Bandwidth.Passes(meter)])
                        bandwidth.Add(rate);
                    prefill.Add(prefillRate);
                    decode.Add(decodeRate);
                    ofBandwidth.Add(decodeRate / count * bytesPerStep / bandwidth.Median);
                }

                table.Add(
                    $"{count}",
                    $"{prefill.Median:F0}",
                    $"{prefill.Median * flopsPerToken / roofline.FlopsPerSecond:P0}",
                    $"{decode.Median:F1}",
                    $"{ofBandwidth.Median:P0}",
                    $"{decode.Median * flopsPerToken / roofline.FlopsPerSecond:P0}");
            }

            string name = folder is null ? parsed.GetRequiredValue(shape) : Path.GetFileName(Path.TrimEndingDirectorySeparator(folder));
            ResultFile.Publish(
                $"decoder {name}, {type} weights, {options.KvType} KV{(bits == 16 ? "" : $" (old in {bits} bits)")}, prompt {tokens}, generate {generated}, {parsed.GetValue(threads)} threads; "
                + $"machine reads {roofline.BytesPerSecond / 1e9:F1} GB/s, computes {roofline.FlopsPerSecond / 1e9:F0} GFLOP/s",
                table, parsed.GetValue(output));
        });
        return command;
    }

    private static EngineOptions Options(ModelConfig config, int length, int sequences, DType kvType, int packedBits) => new()
    {
        MaxModelLength = Math.Min(config.MaxPositions, length),
        MaxNumSeqs = sequences,
        KvType = kvType,
        BlockSize = packedBits == 0 ? 16 : KvBlockFormat.PackedGroup,
        KvPackedBits = packedBits,
        KvCacheBytes = (long)sequences * (length + 64 + (packedBits == 0 ? 0 : length / 4)) * BenchmarkShape.KvBytesPerToken(config, kvType.Size()),
        PrefixCaching = false,
    };
}
