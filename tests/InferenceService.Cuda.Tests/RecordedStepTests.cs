using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Tests;
using InferenceService.Server.Hosting.Devices;

namespace InferenceService.Cuda.Tests;

/// <summary>A decode step recorded once and replayed while lengths, tables and inputs change under it.</summary>
[RequiresCuda]
public sealed class RecordedStepTests : IDisposable
{
    private const int Rows = 2, KvHeads = 2;

    private readonly CudaBackend _backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false });
    private readonly Random _random = new(3);

    public void Dispose() => _backend.Dispose();

    [ContractFact]
    public void Replays_give_the_bits_of_the_same_step_taken_eagerly() => Replays(8, 4, [5, 1, 7, 2, 0, 3], 9, 1);

    [ContractFact]
    public void Replays_divide_the_keys_of_rows_by_the_lengths_of_the_moment() => Replays(32, 64, [.. Enumerable.Range(0, 24)], 6, 120);

    /// <summary>Steps of two sequences whose tables are the two halves of one, the second with fewer tokens.</summary>
    private void Replays(int headDim, int blockSize, int[] table, int steps, int tokens)
    {
        int width = 4 * headDim;
        var format = new KvBlockFormat(DType.BF16, blockSize, headDim, KvHeads);
        Tensor x = _backend.Allocate(DType.F32, Rows, width), groups = _backend.Allocate(DType.I32, Rows, KvBatch.GroupFields), weight = Numbers(width, width);
        Weight packed = _backend.AllocateWeight(WeightFormat.BF16, width, width);
        Step eager = New(), recorded = New();
        Fill(x, groups, 0, table.Length / 2);
        recorded.Run();
        using RecordedStep graph = _backend.Record(recorded.Run);
        for (int length = 0; length < steps * tokens; length += tokens)
        {
            Fill(x, groups, length, table.Length / 2);
            eager.Run();
            graph.Replay();
            byte[] expected = Bytes(eager.Output);
            Assert.Equal(expected, Bytes(recorded.Output));
            Assert.Contains(expected, b => b != 0);
            Assert.Equal(Bytes(eager.Pool), Bytes(recorded.Pool));
        }

        Step New()
        {
            Tensor pool = _backend.Allocate(DType.U8, table.Max() + 1, format.BlockBytes), output = _backend.Allocate(DType.F32, Rows, width), mixed = _backend.Allocate(DType.F32, Rows, width);
            var batch = new KvBatch(pool, format, Rows, 1, groups, Ints(table), Ints(0, 1, 2), 1);
            var cache = new PagedKv(batch, Ints(0, 0), Ints(format.LaneOffset(0), format.LaneOffset(1)), 0.3f);
            return new Step(pool, output, () =>
            {
                _backend.MatMul(x, weight, mixed);
                _backend.WriteKv(mixed.ColumnRange(0, KvHeads * headDim), mixed.ColumnRange(KvHeads * headDim, KvHeads * headDim), cache);
                _backend.Attention(mixed, cache, default, output);
                _backend.MatMul(output, packed, mixed);
                _backend.Add(mixed, output);
            });
        }
    }

    [ContractFact]
    public void A_step_that_cannot_be_recorded_says_why_and_leaves_the_backend_usable()
    {
        Tensor x = Numbers(2, 32), weight = Numbers(3, 32), output = _backend.Allocate(DType.F32, 2, 3);
        Assert.Contains("new shape", Refused(() => _backend.MatMul(x, weight, output)), StringComparison.Ordinal);
        Assert.Contains("may not copy", Refused(() => _backend.Upload(new byte[4], x)), StringComparison.Ordinal);
        Assert.Contains("may not copy", Refused(() => _backend.Download(x, new byte[256])), StringComparison.Ordinal);
        Assert.Contains("new memory", Refused(() => _backend.Allocate(DType.F32, 1, 1)), StringComparison.Ordinal);
        Weight packed = _backend.AllocateWeight(WeightFormat.Int8, 3, 32);
        Assert.Contains("new memory", Refused(() => _backend.MatMul(x, packed, output)), StringComparison.Ordinal);
        _backend.MatMul(x, weight, output);
        Assert.Contains(Bytes(output), b => b != 0);
    }

    [ContractFact]
    public void A_scratch_that_a_recorded_step_uses_outlives_a_larger_one()
    {
        Weight weight = _backend.AllocateWeight(WeightFormat.Int8, 4, 32);
        using (var host = new HostBuffer(4 * 4 * 32))
        {
            MemoryMarshal.Cast<byte, float>(host.Slice(0, 512)).Fill(0.5f);
            _backend.Pack(Tensor.Dense(host, 0, DType.F32, 4, 32), weight, 0);
        }

        Tensor x = Numbers(2, 32), output = _backend.Allocate(DType.F32, 2, 4), large = _backend.Allocate(DType.F32, 5_000, 32), much = _backend.Allocate(DType.F32, 5_000, 4);
        _backend.MatMul(x, weight, output);
        byte[] expected = Bytes(output);
        using RecordedStep graph = _backend.Record(() => _backend.MatMul(x, weight, output));
        _backend.MatMul(large, weight, much);
        _backend.Upload(new byte[32], output);
        graph.Replay();
        Assert.Equal(expected, Bytes(output));
    }

    [ContractFact]
    public void What_recorded_steps_take_is_known_and_too_little_free_memory_is_said()
    {
        long before = _backend.RecordedBytes;
        Tensor x = Numbers(2, 32), output = _backend.Allocate(DType.F32, 2, 32);
        _backend.Add(x, output);
        using (_backend.Record(() => _backend.Add(x, output)))
            Assert.InRange(_backend.RecordedBytes - before, CudaUnderTest.IsReal ? 0 : 1, 1L << 30);
        Assert.Null(GpuDevice.Shortage(1L << 30, 80L << 30, 0));
        Assert.Contains("512 MiB", GpuDevice.Shortage(512L << 20, 80L << 30, 300L << 20), StringComparison.Ordinal);
    }

    private sealed record Step(Tensor Pool, Tensor Output, Action Run);

    private string Refused(Action step) => Assert.Throws<InvalidOperationException>(() => _backend.Record(step)).Message;

    private void Fill(Tensor x, Tensor groups, int length, int second)
    {
        float[] values = [.. Enumerable.Range(0, x.Rows * x.Columns).Select(_ => _random.NextSingle() - 0.5f)];
        _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), x);
        int[] fields = [0, length, 0, 0, 0, 0, 0, second, length, Math.Min(1, length), length / 3, 0, 0, 0];
        _backend.Upload(MemoryMarshal.AsBytes(fields.AsSpan()), groups);
    }

    private byte[] Bytes(Tensor tensor)
    {
        byte[] bytes = new byte[tensor.ByteLength];
        _backend.Download(tensor, bytes);
        return bytes;
    }

    private Tensor Numbers(int rows, int columns)
    {
        float[] values = [.. Enumerable.Range(0, rows * columns).Select(_ => _random.NextSingle() - 0.5f)];
        Tensor tensor = _backend.Allocate(DType.F32, rows, columns);
        _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }

    private Tensor Ints(params int[] values)
    {
        Tensor tensor = _backend.Allocate(DType.I32, 1, values.Length);
        _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }
}
