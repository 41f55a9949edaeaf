namespace InferenceService.Compute.Tests;

public sealed class HostBufferTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1000)]
    [InlineData((1 << 20) - 1)]
    [InlineData(1 << 20)]
    [InlineData((5 << 20) + 3)]
    public void Memory_is_zeroed_aligned_and_writable_to_the_last_byte(int bytes)
    {
        using var buffer = new HostBuffer(bytes);
        Assert.Equal(bytes, buffer.ByteLength);
        Assert.Equal(0, buffer.Address % 64);
        Span<byte> all = buffer.Slice(0, bytes);
        Assert.False(all.ContainsAnyExcept((byte)0));
        all.Fill(7);
        Assert.False(all.ContainsAnyExcept((byte)7));
    }

    [Fact]
    public void Slices_outside_are_refused()
    {
        using var buffer = new HostBuffer(10);
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(-1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(0, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(5, 6));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(long.MaxValue, 1));
        Assert.Equal(0, buffer.Slice(10, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => new HostBuffer(-1));
    }

    [Fact]
    public void A_disposed_buffer_has_no_memory()
    {
        var buffer = new HostBuffer(10);
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Slice(0, 1));
    }
}
