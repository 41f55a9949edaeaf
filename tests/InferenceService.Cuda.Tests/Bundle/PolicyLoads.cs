using System.Diagnostics;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;
using static System.FormattableString;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>
/// A pool of fixed size, more requests than fit, and each policy in turn: how many run at once and what they generate, against keeping everything.
/// </summary>
/// <remarks>
/// Random weights of the 7B shape. What memory decides is the decode: steps without prompt tokens are counted once nobody else can enter.
/// fast-gen prunes by attention, which is nearly flat under random weights, so that half of each head is its local and frequent share.
/// </remarks>
internal static class PolicyLoads
{
    private static readonly (string Label, string Policy, string Options, int Bits)[] Settings =
    [
        ("full", "full", "", 0),
        ("sim-layer-kv, half of the layers, 4 bits", "sim-layer-kv", "mode=share full_share=0.5 key_bits=4", 4),
        ("fast-gen, half of each head", "fast-gen", "recovery_target=0.4 local_share=0.3 frequent_share=0.2", 0),
        ("full in 4 bits", "full", "key_bits=4", 4),
        ("lckv, two warm-up layers", "lckv", "", 0),
    ];

    /// <summary>Context, the pool in sequences of that context under full, and steps that are counted.</summary>
    private static readonly (int Context, int Pool, int Steps)[] Sizes = CudaUnderTest.IsReal ? [(4096, 8, 48), (32_768, 2, 48)] : [(96, 3, 4)];

    /// <summary>One line each.</summary>
    /// <param name="part">Part of a setting's name; null = all.</param>
    public static IEnumerable<string> Take(string? part)
    {
        foreach ((int context, int pool, int steps) in Sizes)
        {
            (double running, double rate) full = default;
            foreach ((string label, string policy, string options, int bits) in Settings)
            {
                if (part is not null && label != "full" && !label.Contains(part, StringComparison.Ordinal))
                    continue;
                (double running, double rate, double ratio) = Run(Create(policy, options), bits, context, pool, steps);
                if (label == "full")
                    full = (running, rate);
                yield return Invariant($"{BundleShapes.Seven.Name}, {context}: {label}").PadRight(58)
                    + Invariant($" {running,6:F1} in flight (x{running / full.running:F2}) {rate,8:F0} tokens/s (x{rate / full.rate:F2}) of a compression of x{ratio:F2}");
            }
        }
    }

    private static (double Running, double Rate, double Ratio) Run(IKvPolicy policy, int bits, int context, int pool, int steps)
    {
        ModelConfig config = policy.Name == "lckv" ? BundleShapes.Condensed(BundleShapes.Seven.Config) : BundleShapes.Seven.Config;
        int rows = CudaUnderTest.IsReal ? 2048 : 64, room = CudaUnderTest.IsReal ? 2048 : 64, most = CudaUnderTest.IsReal ? 128 : 24;
        int chunk = CudaUnderTest.IsReal ? 1024 : 32; // of prompts of cyclic models: exactness is nothing to random weights
        using var weights = new RepeatedWeights(config);
        using CudaBackend backend = BundleShapes.Backend();
        KvLayout layout = policy.Layout(config);
        var model = DecoderModel.Load(config, weights, backend, layout, new DecoderLimits(rows, most + chunk), format: WeightFormat.BF16);
        long everything = 2L * config.Layers * config.KvHeads * config.HeadDim * sizeof(ushort);
        var engine = new InferenceEngine(model, policy, new EngineOptions
        {
            MaxModelLength = context + room,
            MaxNumSeqs = most,
            MaxBatchTokens = rows,
            BlockSize = bits > 0 ? KvBlockFormat.PackedGroup : 16,
            PromptChunkTokens = chunk,
            KvCacheBytes = pool * context * everything,
            KvType = DType.BF16,
            KvPackedBits = bits,
            PrefixCaching = false,
            SwapBytes = 0,
            Seed = 1,
        }, TimeProvider.System, startThread: false);
        GenerationStream[] streams = [.. Enumerable.Range(0, most).Select(s => engine.Submit(new GenerationRequest
        {
            PromptTokens = Enumerable.Range(0, context).Select(i => (i * 7 + s * 13) % config.VocabularySize).ToArray(),
            MaxTokens = room,
            IgnoreEos = true,
            Sampling = new SamplingParams { Temperature = 0 },
        }).Stream!)];

        (int counted, long tokens, double seconds) = (0, 0, 0);
        long before = Stopwatch.GetTimestamp();
        while (counted < steps && engine.Loop.Step())
        {
            double step = Stopwatch.GetElapsedTime(before).TotalSeconds;
            before = Stopwatch.GetTimestamp();
            if (engine.Loop.Clock.LastTokens <= engine.Statistics.Running) // no prompt tokens: one a sequence
                (counted, tokens, seconds) = (counted + 1, tokens + engine.Loop.Clock.LastTokens, seconds + step);
            foreach (GenerationStream stream in streams)
            {
                while (stream.TryRead(out GeneratedToken token))
                    Assert.NotEqual(FinishReason.Error, token.Finish);
            }
        }

        engine.Loop.Drain(cancelRest: true);
        while (engine.Loop.Step())
        {
        }

        KvUsage held = streams.Select(stream => stream.KvUsage).MaxBy(usage => usage.LogicalTokens)!;
        engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return ((double)tokens / counted, tokens / seconds, held.CompressionRatio);
    }

    private static IKvPolicy Create(string policy, string options) => GenerationTests.Create(policy, options);
}
