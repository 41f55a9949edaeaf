using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests.Devices;

/// <summary>Memory and copies. The stand-in's streams are lazy: a staging buffer filled again too early would give wrong bytes.</summary>
[RequiresCuda]
public sealed class CopyTests : IDisposable
{
    private readonly CudaBackend _backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false, StagingBytes = 1000 });

    public void Dispose() => _backend.Dispose();

    [ContractFact]
    public void Uploads_of_any_length_arrive_and_their_source_is_free_on_return()
    {
        var random = new Random(1);
        byte[] expected = new byte[123_457], source = new byte[123_457], back = new byte[123_457];
        random.NextBytes(expected);
        Tensor tensor = _backend.Allocate(DType.U8, 1, expected.Length);
        expected.CopyTo(source, 0);
        _backend.Upload(source, tensor);
        Array.Fill(source, (byte)0xEE);
        _backend.Download(tensor, back);
        Assert.Equal(expected, back);
    }

    [ContractFact]
    public void Many_small_uploads_between_verbs_keep_their_order()
    {
        Tensor one = _backend.Allocate(DType.F32, 1, 4), sum = _backend.Allocate(DType.F32, 1, 4);
        float[] expected = new float[4];
        for (int i = 1; i <= 40; i++)
        {
            float[] values = [i, 2 * i, -i, 0.5f * i];
            _backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), one);
            _backend.Add(one, sum);
            for (int c = 0; c < 4; c++)
                expected[c] += values[c];
        }

        float[] actual = new float[4];
        _backend.Download(sum, MemoryMarshal.AsBytes(actual.AsSpan()));
        Assert.Equal(expected, actual);
    }

    [ContractFact]
    public void Strided_host_tensors_are_placed_densely()
    {
        using var host = new HostBuffer(4 * 10 * 6);
        Span<float> values = MemoryMarshal.Cast<byte, float>(host.Slice(0, 240));
        for (int i = 0; i < 60; i++)
            values[i] = i;
        Tensor placed = _backend.Place(Tensor.Dense(host, 0, DType.F32, 10, 6).ColumnRange(2, 3));
        Assert.True(placed.IsDense);
        Assert.Equal(placed, _backend.Place(placed));
        float[] back = new float[30];
        _backend.Download(placed, MemoryMarshal.AsBytes(back.AsSpan()));
        Assert.Equal(Enumerable.Range(0, 10).SelectMany(r => Enumerable.Range(2, 3).Select(c => (float)(6 * r + c))), back);
    }

    [ContractFact]
    public void Tensors_are_aligned_zeroed_and_apart_even_beyond_one_arena()
    {
        Tensor[] tensors = [.. Enumerable.Range(0, 12).Select(i => _backend.Allocate(DType.U8, 1, i == 5 ? 9 << 20 : 1_000_001 + i))];
        (long From, long To)[] ranges = [.. tensors.Select(t => ((long)t.Address, (long)t.Address + t.ByteLength)).Order()];
        for (int i = 0; i < ranges.Length; i++)
        {
            Assert.Equal(0, ranges[i].From % 256);
            Assert.True(i == 0 || ranges[i - 1].To <= ranges[i].From);
        }

        foreach (Tensor tensor in tensors)
        {
            byte[] bytes = new byte[tensor.ByteLength];
            _backend.Download(tensor, bytes);
            Assert.Equal(-1, bytes.AsSpan().IndexOfAnyExcept((byte)0));
        }
    }

    [ContractFact]
    public void A_tensor_in_host_memory_is_refused()
    {
        using var host = new HostBuffer(64);
        Tensor x = Tensor.Dense(host, 0, DType.F32, 1, 16);
        Assert.Contains("host memory", Assert.Throws<ShapeException>(() => _backend.Add(x, x)).Message, StringComparison.Ordinal);
    }

    [ContractFact]
    public void A_backend_may_be_used_from_another_thread_than_made_it()
    {
        Tensor x = _backend.Allocate(DType.F32, 1, 2);
        Exception? failure = null;
        var thread = new Thread(() => failure = Record.Exception(() => _backend.Download(x, new byte[8])));
        thread.Start();
        thread.Join();
        Assert.Null(failure);
    }
}
