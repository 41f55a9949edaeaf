using System.Diagnostics;
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Kernels;

/// <summary>Attention of one layer measured: so many pools in turn that caches hold none of them, as in a decoder of many layers.</summary>
internal sealed class AttentionRun : IDisposable
{
    private const long FarMoreThanCaches = 256 << 20;
    private const int BlockSize = 16, Passes = 25;

    private readonly CpuBackend _backend;
    private readonly PagedKv[] _copies;
    private readonly Tensor _q, _output;
    private int _next;

    /// <param name="backend">Owned from now on.</param>
    public AttentionRun(CpuBackend backend, AttentionCase shape)
    {
        _backend = backend;
        var format = new KvBlockFormat(DType.BF16, BlockSize, shape.HeadDim, shape.KvHeads);
        int each = (shape.Slots + BlockSize - 1) / BlockSize, blocks = shape.Sequences * each, rows = shape.Sequences * shape.Rows;
        int[] table = [.. Enumerable.Range(0, blocks)], groups = new int[shape.Sequences * KvBatch.GroupFields];
        new Random(1).Shuffle(table);
        for (int s = 0; s < shape.Sequences; s++)
            (groups[s * KvBatch.GroupFields], groups[s * KvBatch.GroupFields + 1]) = (s * each, shape.Slots - shape.Rows);
        var batch = new KvBatch(
            default, format, shape.Sequences, 1, Ints(groups, shape.Sequences), Ints(table, 1),
            Ints([.. Enumerable.Range(0, shape.Sequences + 1).Select(s => s * shape.Rows)], 1), shape.Rows);
        Tensor laneGroup = Ints(new int[shape.KvHeads], 1), laneOffset = Ints([.. Enumerable.Range(0, shape.KvHeads).Select(format.LaneOffset)], 1);
        byte[] contents = Contents(blocks * format.BlockBytes);
        _copies = new PagedKv[Math.Max(2, (int)(FarMoreThanCaches / contents.Length))];
        for (int i = 0; i < _copies.Length; i++)
        {
            Tensor pool = backend.Allocate(DType.U8, blocks, format.BlockBytes);
            backend.Upload(contents, pool);
            _copies[i] = new PagedKv(batch with { Pool = pool }, laneGroup, laneOffset, 1 / MathF.Sqrt(shape.HeadDim));
        }

        (_q, _output) = (backend.Allocate(DType.F32, rows, shape.Heads * shape.HeadDim), backend.Allocate(DType.F32, rows, shape.Heads * shape.HeadDim));
        var random = new Random(2);
        float[] values = new float[rows * shape.Heads * shape.HeadDim];
        for (int i = 0; i < values.Length; i++)
            values[i] = random.NextSingle() - 0.5f;
        backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), _q);
    }

    public void Dispose() => _backend.Dispose();

    /// <summary>Seconds of one call, best of several passes, as the peaks it is held against are.</summary>
    public double Measure()
    {
        double best = Pass();
        for (int pass = 0; pass < Passes; pass++)
            best = Math.Min(best, Pass());
        return best;
    }

    private double Pass()
    {
        const int Calls = 8;
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Calls; i++)
            _backend.Attention(_q, _copies[_next++ % _copies.Length], default, _output);
        return Stopwatch.GetElapsedTime(start).TotalSeconds / Calls;
    }

    private Tensor Ints(int[] values, int rows)
    {
        Tensor tensor = _backend.Allocate(DType.I32, rows, values.Length / rows);
        _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }

    // Finite bfloat16 between −0.5 and 0.5.
    private static byte[] Contents(int bytes)
    {
        var random = new Random(3);
        byte[] contents = new byte[bytes];
        foreach (ref ushort value in MemoryMarshal.Cast<byte, ushort>(contents.AsSpan()))
            value = (ushort)(BitConverter.SingleToUInt32Bits(random.NextSingle() - 0.5f) >> 16);
        return contents;
    }
}

/// <summary>One call of attention.</summary>
/// <param name="Name">What it stands for.</param>
/// <param name="Sequences">Sequences.</param>
/// <param name="Rows">Rows of each.</param>
/// <param name="Slots">Slots of each after the call.</param>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">KV heads.</param>
/// <param name="HeadDim">Elements a head.</param>
internal sealed record AttentionCase(string Name, int Sequences, int Rows, int Slots, int Heads, int KvHeads, int HeadDim)
{
    /// <summary>K and V, read once.</summary>
    public double Bytes => 2.0 * Sequences * Slots * KvHeads * HeadDim * sizeof(ushort);

    /// <summary>Products and sums of scores and values over the slots that rows see.</summary>
    public double Operations => 4.0 * Sequences * Rows * Heads * HeadDim * (Slots - (Rows - 1) / 2.0);
}
