using System.Diagnostics;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;
using static System.FormattableString;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>Prompts in chunks through whole models, in the engine: operations a second against those of a large product of the same types.</summary>
internal static class PromptSteps
{
    private static readonly int Chunk = CudaUnderTest.IsReal ? 2048 : 32;

    /// <summary>One line each.</summary>
    public static IEnumerable<string> Take()
    {
        double peak = Peak();
        yield return Invariant($"product of bfloat16, the largest of three sizes: {peak / 1e12:F1} TFLOP/s");
        foreach ((string name, ModelConfig config) in BundleShapes.All)
        {
            using var weights = new RepeatedWeights(config);
            using CudaBackend backend = BundleShapes.Backend();
            var model = DecoderModel.Load(config, weights, backend, KvLayout.Of(config, KvGrouping.Model), new DecoderLimits(Chunk, 8), format: WeightFormat.BF16);
            int tokens = 4 * Chunk;
            double seconds = Seconds(model, tokens), operations = Operations(config, tokens);
            yield return Invariant($"prompt {name}, {tokens} tokens in chunks of {Chunk}").PadRight(44)
                + Invariant($" {seconds * 1e3,9:F2} ms {tokens / seconds,9:F0} tokens/s {operations / seconds / 1e12,8:F1} TFLOP/s ({operations / seconds / peak:P0} of the product)");
        }
    }

    /// <summary>Two for each weight of the layers and row, and for each pair of query and key that a head scores and adds up.</summary>
    private static double Operations(ModelConfig config, long tokens)
    {
        double weights = RepeatedWeights.MatrixBytes(config) / sizeof(ushort) - (double)config.VocabularySize * config.HiddenSize;
        return 2 * weights * tokens + 2.0 * config.Layers * config.Heads * config.HeadDim * tokens * (tokens + 1);
    }

    /// <summary>Best of three prompts, from the first step to the token.</summary>
    private static double Seconds(DecoderModel model, int tokens)
    {
        var format = new KvBlockFormat(DType.BF16, 16, model.Config.HeadDim, model.Config.Layers * model.Config.KvHeads);
        var options = new EngineOptions
        {
            MaxModelLength = tokens + 1,
            MaxNumSeqs = 1,
            MaxBatchTokens = Chunk,
            KvCacheBytes = (tokens / 16 + 2L) * format.BlockBytes,
            KvType = DType.BF16,
            Sums = AttentionSums.None,
            PrefixCaching = false,
            Seed = 1,
        };
        var engine = new InferenceEngine(model, new FullKvPolicy(), options, TimeProvider.System, startThread: false);
        double best = double.MaxValue;
        for (int round = 0; round < 3; round++)
        {
            GenerationStream stream = engine.Submit(new GenerationRequest
            {
                PromptTokens = Enumerable.Range(0, tokens).Select(i => (i * 7 + round) % model.Config.VocabularySize).ToArray(),
                MaxTokens = 1,
                Sampling = new SamplingParams { Temperature = 0 },
            }).Stream!;
            var watch = Stopwatch.StartNew();
            while (engine.Loop.Step())
            {
            }

            Assert.True(stream.TryRead(out GeneratedToken token) && token.TokenId >= 0, "The prompt has no token.");
            best = Math.Min(best, watch.Elapsed.TotalSeconds);
        }

        engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return best;
    }

    /// <summary>Operations a second of a product whose operands are in bfloat16 already.</summary>
    private static double Peak()
    {
        double peak = 0;
        foreach (int size in CudaUnderTest.IsReal ? (int[])[4096, 8192, 16_384] : [32, 64, 96])
        {
            using CudaBackend backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false });
            Weight weight = backend.AllocateWeight(WeightFormat.BF16, size, size);
            Tensor x = backend.AllocateOperand(WeightFormat.BF16, size, size), output = backend.Allocate(DType.F32, size, size), wait = backend.Allocate(DType.U8, 1, 1);
            for (int round = 0; round < 4; round++)
            {
                var watch = Stopwatch.StartNew();
                for (int i = 0; i < (CudaUnderTest.IsReal ? 10 : 1); i++)
                    backend.MatMul(x, weight, output);
                backend.Download(wait, new byte[1]);
                if (round > 0)
                    peak = Math.Max(peak, 2.0 * size * size * size * (CudaUnderTest.IsReal ? 10 : 1) / watch.Elapsed.TotalSeconds);
            }
        }

        return peak;
    }
}
