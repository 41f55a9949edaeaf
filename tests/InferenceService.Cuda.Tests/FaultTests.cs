using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>Contents that lead nowhere: the kernel touches nothing and says so.</summary>
[RequiresCuda]
public sealed class FaultTests : IDisposable
{
    private static readonly KvBlockFormat Format = new(DType.F32, 4, 8, 1);

    private readonly CudaBackend _backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false });

    public void Dispose() => _backend.Dispose();

    [ContractFact]
    public void An_id_outside_the_table_is_reported_once_by_the_next_call_that_waits()
    {
        Tensor table = _backend.Allocate(DType.F32, 5, 8), output = _backend.Allocate(DType.F32, 2, 8);
        _backend.Embed(table, Ints(4, 5), output);
        byte[] bytes = new byte[64];
        Assert.Equal("Id 5 of row 1 is not in the table.", Assert.Throws<ShapeException>(() => _backend.Download(output, bytes)).Message);
        _backend.Download(output, bytes);
    }

    [ContractFact]
    public void A_table_entry_outside_the_pool_is_reported_and_read_as_nothing()
    {
        foreach (int entry in (int[])[2, int.MaxValue, -1])
        {
            Tensor pool = _backend.Allocate(DType.U8, 2, Format.BlockBytes), row = Row(), output = _backend.Allocate(DType.F32, 1, 8);
            var cache = new PagedKv(new KvBatch(pool, Format, 1, 1, Ints(0, 1, 0, 0, 0, 0, 0), Ints(entry), Ints(0, 1), 1), Ints(0), Ints(0), 1);
            _backend.WriteKv(row, row, cache);
            Assert.Equal("Slot 1 of KV head 0 of sequence 0 has no block in the tables.", Assert.Throws<ShapeException>(Wait).Message);
            _backend.Attention(row, cache, default, output);
            Assert.Throws<ShapeException>(Wait);
            byte[] bytes = new byte[pool.ByteLength];
            _backend.Download(pool, bytes);
            Assert.All(bytes, b => Assert.Equal(0, b));
        }
    }

    [ContractFact]
    public void Groups_runs_and_rows_that_leave_their_tensors_are_reported()
    {
        Assert.Contains("has no block", Written(Ints(0, 9, 0, 0, 0, 0, 0), Ints(0), Ints(0, 1)), StringComparison.Ordinal); // the run is too short
        Assert.Contains("has no block", Written(Ints(7, 0, 0, 0, 0, 0, 0), Ints(0), Ints(0, 1)), StringComparison.Ordinal);
        Assert.Contains("has no block", Written(Ints(0, 0, 0, 0, 0, 0, 0), Ints(3), Ints(0, 1)), StringComparison.Ordinal); // no such group
        Assert.Contains("leave the step", Written(Ints(0, 0, 0, 0, 0, 0, 0), Ints(0), Ints(0, 5)), StringComparison.Ordinal);
    }

    private string Written(Tensor groups, Tensor laneGroup, Tensor rowStarts)
    {
        Tensor pool = _backend.Allocate(DType.U8, 2, Format.BlockBytes), row = Row();
        _backend.WriteKv(row, row, new PagedKv(new KvBatch(pool, Format, 1, 1, groups, Ints(0), rowStarts, 1), laneGroup, Ints(0), 1));
        return Assert.Throws<ShapeException>(Wait).Message;
    }

    private Tensor Row()
    {
        Tensor row = _backend.Allocate(DType.F32, 1, 8);
        _backend.Upload(MemoryMarshal.AsBytes<float>([1, 2, 3, 4, 5, 6, 7, 8]), row);
        return row;
    }

    private void Wait() => _backend.Download(_backend.Allocate(DType.U8, 1, 1), new byte[1]);

    private Tensor Ints(params int[] values)
    {
        Tensor tensor = _backend.Allocate(DType.I32, 1, values.Length);
        _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }
}
