using System.Runtime.InteropServices;
using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

/// <summary>A decode step allocates nothing on the managed heap.</summary>
public sealed class CpuBackendAllocationTests : IDisposable
{
    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(40)]
    public void No_verb_allocates_once_warm(int rows)
    {
        var random = new Random(1);
        Tensor x = Matrix.Random(random, DType.F32, rows, 256).On(_backend), y = Matrix.Random(random, DType.F32, rows, 256).On(_backend);
        Tensor weight = Matrix.Random(random, DType.BF16, 256, 256).On(_backend), norm = weight.RowRange(0, 1);
        Tensor output = _backend.Allocate(DType.F32, rows, 256), ids = _backend.Allocate(DType.I32, 1, rows);
        Tensor angles = Matrix.Random(random, DType.F32, rows, 64).On(_backend);
        PagedKv cache = Cache(rows, out AttentionProbe probe);
        var moves = new SlotMove[] { new(0, 1), new(5, 4) };
        Weight[] packed = [.. new[] { WeightFormat.BF16, WeightFormat.Int8, WeightFormat.Int4 }.Select(format => _backend.AllocateWeight(format, 256, 256))];
        foreach (Weight each in packed)
            _backend.Pack(weight, each, 0);
        byte[] staging = new byte[rows * 256 * 4], zeros = new byte[rows * 4];

        void Step()
        {
            _backend.Upload(zeros, ids);
            _backend.Embed(weight, ids, output);
            _backend.RmsNorm(x, norm, 1e-5f, output);
            _backend.AddRmsNorm(x, y, norm, 1e-5f, output);
            _backend.MatMul(x, weight, output);
            foreach (Weight each in packed)
                _backend.MatMul(x, each, output);
            _backend.AddBias(x, norm);
            _backend.Rope(x, angles, 64);
            _backend.SiluMultiply(x, y, output);
            _backend.Add(x, y);
            _backend.WriteKv(x, y, cache);
            _backend.Attention(x, cache, probe, output);
            _backend.Attention(x, cache with { SinkQueries = y }, default, output);
            _backend.MoveSlots(moves, cache.Batch.Pool, cache.Batch.Format);
            _backend.Download(output, staging);
            _ = _backend.Read(output, staging).Length;
        }

        for (int i = 0; i < 5; i++)
            Step();
        // The runtime allocates on whatever thread it happens to be when it grows caches of its own; what a verb allocates shows in every run.
        long least = long.MaxValue;
        for (int run = 0; run < 3; run++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 20; i++)
                Step();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    /// <summary>Two sequences, one of them long enough to be shared out by spans when there is one row.</summary>
    private PagedKv Cache(int rows, out AttentionProbe probe)
    {
        const int Length = 1400;
        var format = new KvBlockFormat(DType.BF16, 16, 64, 4);
        int blocks = (Length + rows + 15) / 16 + 1;
        Tensor Ints(params int[] values)
        {
            Tensor tensor = _backend.Allocate(DType.I32, 1, values.Length);
            _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
            return tensor;
        }

        Tensor groups = _backend.Allocate(DType.I32, 2, KvBatch.GroupFields);
        _backend.Upload(MemoryMarshal.AsBytes<int>([0, Length, 100, 30, 4, 1000, 0, 1, 0, 0, 0, 0, 0, 0]), groups);
        var batch = new KvBatch(
            _backend.Allocate(DType.U8, blocks, format.BlockBytes), format, 2, 1, groups,
            Ints([.. Enumerable.Range(0, blocks)]), Ints(0, rows, rows), rows);
        const AttentionSums all = AttentionSums.Columns | AttentionSums.Band | AttentionSums.RangeMass;
        Tensor observed = _backend.Allocate(DType.I32, 2, AttentionProbe.ObservedFields);
        _backend.Upload(MemoryMarshal.AsBytes<int>([(int)all, 0, 50, 4, 1000, 0, 0, 0, 0, 0]), observed);
        probe = new AttentionProbe(
            all, _backend.Allocate(DType.F32, 8, Length + rows), _backend.Allocate(DType.F32, 8, Length + rows),
            _backend.Allocate(DType.F32, 8, 1), Ints(0, -1), observed, 0);
        return new PagedKv(batch, Ints(0, 0, 0, 0), Ints([.. Enumerable.Range(0, 4).Select(format.LaneOffset)]), 0.125f);
    }
}
