namespace InferenceService.Compute.Tests;

public sealed class MappedFileTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void Bytes_are_those_of_the_file()
    {
        byte[] bytes = new byte[10_007];
        new Random(3).NextBytes(bytes);
        File.WriteAllBytes(_path, bytes);
        using MappedFile file = MappedFile.Open(_path);
        Assert.Equal(bytes.Length, file.ByteLength);
        Assert.True(file.Slice(0, bytes.Length).SequenceEqual(bytes));
        Assert.True(file.Slice(9_000, 1_007).SequenceEqual(bytes.AsSpan(9_000)));
        Assert.Equal(0, file.Slice(bytes.Length, 0).Length);
    }

    [Fact]
    public void Slices_outside_are_refused()
    {
        File.WriteAllBytes(_path, new byte[100]);
        using MappedFile file = MappedFile.Open(_path);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Slice(-1, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Slice(0, -1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Slice(99, 2).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Slice(long.MaxValue, 1).Length);
        Assert.Throws<ShapeException>(() => Tensor.Dense(file, 0, DType.F32, 5, 6));
    }

    [Fact]
    public void Advice_changes_no_byte()
    {
        byte[] bytes = new byte[100_003];
        new Random(4).NextBytes(bytes);
        File.WriteAllBytes(_path, bytes);
        using MappedFile file = MappedFile.Open(_path);
        file.Expect(0, bytes.Length);
        Assert.True(file.Slice(0, bytes.Length).SequenceEqual(bytes));
        file.Release(17, 90_000);
        file.Release(bytes.Length, 0);
        Assert.True(file.Slice(0, bytes.Length).SequenceEqual(bytes));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Release(-1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Expect(1, bytes.Length));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Expect(0, -1));
    }

    [Fact]
    public void A_tensor_reads_the_file_in_place_from_an_odd_offset()
    {
        byte[] bytes = new byte[3 + 8];
        BitConverter.TryWriteBytes(bytes.AsSpan(3), 1.5f);
        BitConverter.TryWriteBytes(bytes.AsSpan(7), -2f);
        File.WriteAllBytes(_path, bytes);
        using MappedFile file = MappedFile.Open(_path);
        using var backend = new Compute.Cpu.CpuBackend(1);
        Tensor table = backend.Place(Tensor.Dense(file, 3, DType.F32, 2, 1));
        Tensor ids = backend.Allocate(DType.I32, 1, 2), output = backend.Allocate(DType.F32, 2, 1);
        backend.Upload(BitConverter.GetBytes(1), ids); // ids 1 and 0
        backend.Embed(table, ids, output);
        byte[] raw = new byte[8];
        backend.Download(output, raw);
        Assert.Equal(-2f, BitConverter.ToSingle(raw, 0));
        Assert.Equal(1.5f, BitConverter.ToSingle(raw, 4));
    }

    [Fact]
    public void Files_that_cannot_be_mapped_are_refused()
    {
        Assert.Contains("is empty", Assert.Throws<InvalidDataException>(() => MappedFile.Open(_path)).Message, StringComparison.Ordinal);
        Assert.Throws<FileNotFoundException>(() => MappedFile.Open(_path + ".missing"));
    }

    [Fact]
    public void A_disposed_file_has_no_bytes()
    {
        File.WriteAllBytes(_path, new byte[100]);
        MappedFile file = MappedFile.Open(_path);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Slice(0, 1).Length);
    }
}
