using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>A few timings of recorded steps: enough to see on a GPU where the kernels stand. On the emulation the sizes are tiny and the times mean nothing.</summary>
internal static class Measurements
{
    /// <summary>One line each: what, milliseconds, and bytes or operations a second.</summary>
    public static List<string> Take()
    {
        var lines = new List<string>();
        bool real = CudaUnderTest.IsReal;
        using CudaBackend backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false, ArenaBytes = real ? 1L << 30 : 8 << 20 });
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.Int8, WeightFormat.Int4, WeightFormat.Stored])
        {
            foreach (int rows in (int[])[1, 8, 16, 32, 64, real ? 2048 : 96])
                lines.Add(Product(backend, format, rows, real ? 4096 : 64, real ? 28_672 : 64)); // larger than any L2
        }

        foreach ((int sequences, int context) in real ? ((int, int)[])[(1, 512), (1, 4096), (8, 4096), (64, 4096)] : [(1, 64), (2, 128)])
            lines.Add(Attention(backend, sequences, context, 1, 4, 0));
        foreach (int group in (int[])[1, 3, 8])
            lines.Add(Attention(backend, real ? 8 : 1, real ? 4096 : 64, 1, group, 0));
        foreach ((int bits, int rows, int context) in real ? ((int, int, int)[])[(0, 2048, 0), (0, 2048, 14336), (4, 2048, 14336), (4, 1, 4096)] : [(0, 20, 60), (4, 20, 60)])
            lines.Add(Attention(backend, 1, context, rows, 4, bits));
        lines.Add(Sampling(backend, real ? 64 : 2, real ? 128_256 : 300));
        return lines;
    }

    private static string Product(CudaBackend backend, WeightFormat format, int rows, int inner, int outputs)
    {
        Tensor x = backend.Allocate(DType.F32, rows, inner), output = backend.Allocate(DType.F32, rows, outputs);
        Weight weight = format == WeightFormat.Stored ? Weight.Stored(backend.Allocate(DType.BF16, outputs, inner)) : backend.AllocateWeight(format, outputs, inner);
        double seconds = Time(backend, () => backend.MatMul(x, weight, output));
        return Line($"{format} product [{rows}, {inner}] x [{outputs}, {inner}]", seconds, weight.ByteLength, 2.0 * rows * inner * outputs);
    }

    /// <summary>Half the rows greedy, half drawn under top-k and top-p.</summary>
    private static string Sampling(CudaBackend backend, int rows, int vocabulary)
    {
        var random = new Random(1);
        float[] row = [.. Enumerable.Range(0, vocabulary).Select(_ => (random.NextSingle() - 0.5f) * 20)];
        Tensor logits = backend.Allocate(DType.F32, rows, vocabulary), orders = backend.Allocate(DType.U8, rows, TokenOrder.ByteLength);
        for (int i = 0; i < rows; i++)
            backend.Upload(MemoryMarshal.AsBytes(row.AsSpan()), logits.RowRange(i, 1));
        TokenOrder[] list = [.. Enumerable.Range(0, rows).Select(i => new TokenOrder(i, 7, (ulong)i, double.NegativeInfinity, i % 2, 0.9f, 1, 0, 0, 50, 0, 0, -1))];
        backend.Upload(MemoryMarshal.AsBytes(list.AsSpan()), orders);
        Tensor changes = backend.Allocate(DType.I32, 1, LogitChange.Words), tokens = backend.Allocate(DType.I32, rows, 1), next = backend.Allocate(DType.I32, 1, rows);
        return Line($"sampling {rows} rows of {vocabulary}", Time(backend, () => backend.Choose(logits, orders, changes, tokens, next)), 4.0 * rows * vocabulary, 0);
    }

    /// <summary>Rows at the end of a context; where blocks may be packed, those before the rows are.</summary>
    private static string Attention(CudaBackend backend, int sequences, int context, int rows, int group, int bits)
    {
        const int kvHeads = 8, headDim = 128;
        int blockSize = bits == 0 ? 16 : 32;
        var format = new KvBlockFormat(DType.BF16, blockSize, headDim, kvHeads, bits);
        int blocks = (context + rows) / blockSize + 1;
        Tensor pool = backend.Allocate(DType.U8, sequences * blocks, format.BlockBytes), q = backend.Allocate(DType.F32, sequences * rows, kvHeads * group * headDim);
        Tensor output = backend.Allocate(DType.F32, q.Rows, q.Columns);
        int[] groups = [.. Enumerable.Range(0, sequences).SelectMany(s => (int[])[s * blocks, context, 0, 0, 0, 0, 0])];
        Tensor table = Ints(backend, [.. Enumerable.Range(0, sequences * blocks).Select(i => bits > 0 && i % blocks < context / blockSize ? ~i : i)]);
        Tensor groupRows = backend.Allocate(DType.I32, sequences, KvBatch.GroupFields);
        backend.Upload(MemoryMarshal.AsBytes(groups.AsSpan()), groupRows);
        var batch = new KvBatch(pool, format, sequences, 1, groupRows, table, Ints(backend, [.. Enumerable.Range(0, sequences + 1).Select(s => s * rows)]), rows);
        var cache = new PagedKv(
            batch, Ints(backend, new int[kvHeads]), Ints(backend, [.. Enumerable.Range(0, kvHeads).Select(format.LaneOffset)]), 0.1f);
        double seconds = Time(backend, () => backend.Attention(q, cache, default, output));
        double slots = (double)sequences * (context + rows), pairs = sequences * (rows * (double)context + rows * (rows + 1.0) / 2);
        double bytes = slots * kvHeads * headDim * (bits == 0 ? 4 : 2 * (bits + 1) / 8.0);
        string what = $"attention, {sequences} x {rows} rows after {context} slots, {kvHeads} x {group} heads of {headDim}{(bits == 0 ? "" : $", {bits} bits")}";
        return Line(what, seconds, bytes, 4.0 * pairs * kvHeads * group * headDim);
    }

    /// <summary>Median seconds of a recorded step.</summary>
    private static double Time(CudaBackend backend, Action step)
    {
        const int replays = 10, rounds = 5;
        step();
        using RecordedStep graph = backend.Record(step);
        Tensor wait = backend.Allocate(DType.U8, 1, 1);
        double[] seconds = new double[rounds];
        for (int round = 0; round < rounds; round++)
        {
            backend.Download(wait, new byte[1]);
            var watch = Stopwatch.StartNew();
            for (int i = 0; i < (CudaUnderTest.IsReal ? replays : 1); i++)
                graph.Replay();
            backend.Download(wait, new byte[1]);
            seconds[round] = watch.Elapsed.TotalSeconds / (CudaUnderTest.IsReal ? replays : 1);
        }

        Array.Sort(seconds);
        return seconds[rounds / 2];
    }

    private static string Line(string what, double seconds, double bytes, double operations) => string.Create(
        CultureInfo.InvariantCulture, $"{what,-74} {seconds * 1e3,9:F3} ms {bytes / seconds / 1e9,8:F1} GB/s {operations / seconds / 1e12,8:F2} TFLOP/s");

    private static Tensor Ints(CudaBackend backend, int[] values)
    {
        Tensor tensor = backend.Allocate(DType.I32, 1, values.Length);
        backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }
}
