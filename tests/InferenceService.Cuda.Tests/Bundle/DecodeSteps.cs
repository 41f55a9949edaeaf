using System.Diagnostics;
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;
using static System.FormattableString;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>
/// Whole decode steps of the usual shapes against their floor: bytes of weights and cache over the bandwidth that a copy reaches here. First the
/// device alone, steps enqueued one behind the other; then the engine, tokens and all. The difference is what the host does not hide.
/// </summary>
internal static class DecodeSteps
{
    private const int BlockSize = 16;

    private static readonly (int Sequences, int Context)[] Sizes = CudaUnderTest.IsReal
        ? [(1, 512), (8, 512), (64, 512), (1, 4096), (8, 4096), (64, 4096)]
        : [(1, 32), (3, 32)];

    /// <summary>One line each.</summary>
    public static IEnumerable<string> Take()
    {
        double bandwidth = Bandwidth();
        yield return Invariant($"copy on the device: {bandwidth / 1e9:F0} GB/s, read and written");
        foreach ((string name, ModelConfig config) in BundleShapes.All)
        {
            using var weights = new RepeatedWeights(config);
            foreach ((int sequences, int context) in Sizes)
                yield return Step(name, config, weights, sequences, context, bandwidth);
        }
    }

    private static string Step(string name, ModelConfig config, RepeatedWeights weights, int sequences, int context, double bandwidth)
    {
        string what = Invariant($"decode step {name}, {sequences} x {context}");
        var format = new KvBlockFormat(DType.BF16, BlockSize, config.HeadDim, config.Layers * config.KvHeads);
        long matrices = RepeatedWeights.MatrixBytes(config), slots = (long)sequences * context * format.BlockBytes / BlockSize;
        long needed = matrices + 2L * config.VocabularySize * config.HiddenSize + slots + (CudaUnderTest.IsReal ? 4L << 30 : 0);
        if (needed > CudaUnderTest.Device.FreeBytes())
            return $"{what,-34} does not fit";
        using CudaBackend backend = BundleShapes.Backend();
        int rows = Math.Max(sequences, CudaUnderTest.IsReal ? 2048 : 64);
        var model = DecoderModel.Load(
            config, weights, backend, KvLayout.Of(config, KvGrouping.Model), new DecoderLimits(rows, Math.Max(sequences, 8)), format: WeightFormat.BF16);
        double floor = (matrices + slots) / bandwidth, engine = Engine(model, sequences, context, slots, out double device);
        return Invariant($"{what,-34} device {device * 1e3,8:F3} ms (x{device / floor:F2}) engine {engine * 1e3,8:F3} ms (x{engine / floor:F2}, device busy {device / engine:P0}, {sequences / engine:F1} tokens/s) floor {floor * 1e3:F3} ms");
    }

    /// <summary>Seconds of a step in the engine, and of the same step on the device alone.</summary>
    private static double Engine(DecoderModel model, int sequences, int context, long slots, out double device)
    {
        // Enough tokens for the first sequence to be there still when the last prompt has been read.
        int tokens = (sequences * context + model.Limits.MaxRows - 1) / model.Limits.MaxRows + 1 + (CudaUnderTest.IsReal ? 32 : 4);
        int prompt = Math.Max(BlockSize, context - tokens / 2);
        var options = new EngineOptions
        {
            MaxModelLength = context + tokens,
            MaxNumSeqs = sequences,
            MaxBatchTokens = model.Limits.MaxRows,
            BlockSize = BlockSize,
            KvCacheBytes = slots / context * (context + tokens + BlockSize), // of each sequence
            KvType = DType.BF16,
            Sums = AttentionSums.None,
            PrefixCaching = false,
            Seed = 1,
        };
        var engine = new InferenceEngine(model, new FullKvPolicy(), options, TimeProvider.System, startThread: false);
        GenerationStream[] streams = [.. Enumerable.Range(0, sequences).Select(s => engine.Submit(new GenerationRequest
        {
            PromptTokens = Enumerable.Range(0, prompt).Select(i => (i * 7 + s * 13) % model.Config.VocabularySize).ToArray(),
            MaxTokens = tokens,
            IgnoreEos = true,
            Sampling = new SamplingParams { Temperature = 0 },
        }).Stream!)];
        var seconds = new List<double>();
        while (true)
        {
            var watch = Stopwatch.StartNew();
            if (!engine.Loop.Step())
                break;
            if (engine.Loop.Clock.LastTokens == sequences)
                seconds.Add(watch.Elapsed.TotalSeconds);
            foreach (GenerationStream stream in streams)
            {
                while (stream.TryRead(out GeneratedToken token))
                    Assert.NotEqual(FinishReason.Error, token.Finish);
            }
        }

        device = Device(model, engine, sequences, context);
        engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        seconds.Sort();
        return seconds[seconds.Count / 2];
    }

    /// <summary>The step alone, over the engine's own pool: enqueued again and again, waited for once.</summary>
    private static double Device(DecoderModel model, InferenceEngine engine, int sequences, int context)
    {
        IBackend backend = model.Backend;
        int blocks = engine.Loop.Cache.Blocks.Total, each = context / BlockSize + 1, repeats = CudaUnderTest.IsReal ? 20 : 1;
        int[] groups = [.. Enumerable.Range(0, sequences).SelectMany(s => (int[])[s * each, context, 0, 0, 0, 0, 0])];
        var kv = new KvBatch(
            engine.Loop.Cache.Memory, engine.BlockFormat, sequences, 1, Ints(backend, groups) with { Rows = sequences, Columns = KvBatch.GroupFields, RowStride = KvBatch.GroupFields },
            Ints(backend, [.. Enumerable.Range(0, sequences * each).Select(i => i % blocks)]), Ints(backend, [.. Enumerable.Range(0, sequences + 1)]), 1);
        int[] ids = [.. Enumerable.Range(0, sequences).Select(i => i % model.Config.VocabularySize)], positions = [.. Enumerable.Repeat(context, sequences)], rows = [.. Enumerable.Range(0, sequences)];
        Tensor wait = backend.Allocate(DType.U8, 1, 1);
        double best = double.MaxValue;
        for (int round = 0; round < 5; round++)
        {
            var watch = Stopwatch.StartNew();
            for (int i = 0; i < repeats; i++)
                model.Forward(new ForwardInput { TokenIds = ids, Positions = positions, LogitRows = rows, Kv = kv, Repeats = true });
            backend.Download(wait, new byte[1]);
            if (round > 1) // the first two record
                best = Math.Min(best, watch.Elapsed.TotalSeconds / repeats);
        }

        return best;
    }

    /// <summary>Bytes a second of a large copy, both ways counted.</summary>
    private static double Bandwidth()
    {
        int rows = CudaUnderTest.IsReal ? 1 << 18 : 1 << 8, repeats = CudaUnderTest.IsReal ? 20 : 1;
        using CudaBackend backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false });
        Tensor from = backend.Allocate(DType.F32, rows, 1024), to = backend.Allocate(DType.F32, rows, 1024), wait = backend.Allocate(DType.U8, 1, 1);
        double best = double.MaxValue;
        for (int round = 0; round < 4; round++)
        {
            backend.Download(wait, new byte[1]);
            var watch = Stopwatch.StartNew();
            for (int i = 0; i < repeats; i++)
                backend.Copy(from, to);
            backend.Download(wait, new byte[1]);
            best = Math.Min(best, watch.Elapsed.TotalSeconds / repeats);
        }

        return 2.0 * from.ByteLength / best;
    }

    private static Tensor Ints(IBackend backend, int[] values)
    {
        Tensor tensor = backend.Allocate(DType.I32, 1, values.Length);
        backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }
}
