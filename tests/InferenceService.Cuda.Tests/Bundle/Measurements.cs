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
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.F16, WeightFormat.Int8, WeightFormat.Int4, WeightFormat.Stored])
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
        foreach (int headDim in (int[])[64, 80, 96, 112, 256])
        {
            lines.Add(Attention(backend, real ? 8 : 1, real ? 4096 : 64, 1, 1, 0, headDim));
            lines.Add(Attention(backend, 1, 0, real ? 2048 : 20, 4, 0, headDim));
        }

        // Beside a prompt of as many rows as the others have together; and one long context among short ones.
        int[] contexts = [.. Enumerable.Repeat(real ? 1024 : 40, real ? 63 : 3)];
        lines.Add(Attention(backend, [.. contexts, 0], [.. contexts.Select(_ => 1), real ? 2048 : 30], 4, 0, 128, "single rows beside a prompt"));
        lines.Add(Attention(backend, [.. contexts, real ? 65_536 : 900], [.. contexts.Select(_ => 1), 1], 1, 0, 128, "one long among short"));
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.Stored, WeightFormat.BF16, WeightFormat.Int8])
            lines.Add(Operands(backend, format, real ? 2048 : 20, real ? 14_336 : 64));
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

    /// <summary>Norm with residual and SwiGLU, into f32 or into what a product with such weights reads.</summary>
    private static string Operands(CudaBackend backend, WeightFormat format, int rows, int columns)
    {
        Tensor x = backend.Allocate(DType.F32, rows, columns), residual = backend.Allocate(DType.F32, rows, columns), weight = backend.Allocate(DType.F32, 1, columns);
        Tensor output = backend.AllocateOperand(format, rows, columns);
        double seconds = Time(backend, () =>
        {
            backend.AddRmsNorm(x, residual, weight, 1e-5f, output);
            backend.SiluMultiply(x, residual, output);
        });
        return Line($"norm and SwiGLU [{rows}, {columns}] into {output.Type}", seconds, (double)rows * columns * (5 * 4 + 2 * output.Type.Size()), 0);
    }

    /// <summary>Rows at the end of equal contexts; where blocks may be packed, those before the rows are.</summary>
    private static string Attention(CudaBackend backend, int sequences, int context, int rows, int group, int bits, int headDim = 128) => Attention(
        backend, [.. Enumerable.Repeat(context, sequences)], [.. Enumerable.Repeat(rows, sequences)], group, bits, headDim, $"{sequences} x {rows} rows after {context} slots");

    private static string Attention(CudaBackend backend, int[] contexts, int[] rows, int group, int bits, int headDim, string what)
    {
        const int kvHeads = 8;
        int blockSize = bits == 0 ? 16 : 32, sequences = contexts.Length, allRows = rows.Sum();
        var format = new KvBlockFormat(DType.BF16, blockSize, headDim, kvHeads, bits);
        int[] blocks = [.. contexts.Zip(rows, (context, count) => (context + count) / blockSize + 1)];
        Tensor pool = backend.Allocate(DType.U8, blocks.Sum(), format.BlockBytes), q = backend.Allocate(DType.F32, allRows, kvHeads * group * headDim);
        Tensor output = backend.Allocate(DType.F32, q.Rows, q.Columns), groupRows = backend.Allocate(DType.I32, sequences, KvBatch.GroupFields);
        List<int> groups = [], table = [], starts = [0];
        for (int s = 0; s < sequences; s++)
        {
            groups.AddRange([table.Count, contexts[s], 0, 0, 0, 0, 0]);
            starts.Add(starts[^1] + rows[s]);
            for (int i = 0; i < blocks[s]; i++)
                table.Add(bits > 0 && i < contexts[s] / blockSize ? ~table.Count : table.Count);
        }

        backend.Upload(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(groups)), groupRows);
        var batch = new KvBatch(pool, format, sequences, 1, groupRows, Ints(backend, [.. table]), Ints(backend, [.. starts]), rows.Max());
        var cache = new PagedKv(
            batch, Ints(backend, new int[kvHeads]), Ints(backend, [.. Enumerable.Range(0, kvHeads).Select(format.LaneOffset)]), 0.1f);
        double seconds = Time(backend, () => backend.Attention(q, cache, default, output));
        double slots = contexts.Sum() + allRows, pairs = contexts.Zip(rows, (context, count) => count * (double)context + count * (count + 1.0) / 2).Sum();
        double bytes = slots * kvHeads * headDim * (bits == 0 ? 4 : 2 * (bits + 1) / 8.0);
        return Line($"attention, {what}, {kvHeads} x {group} heads of {headDim}{(bits == 0 ? "" : $", {bits} bits")}", seconds, bytes, 4.0 * pairs * kvHeads * group * headDim);
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
