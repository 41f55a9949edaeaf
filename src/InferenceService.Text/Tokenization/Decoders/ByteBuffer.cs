namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>A growing run of bytes that is reused from token to token.</summary>
internal sealed class ByteBuffer : IDecoderStage
{
    private byte[] _bytes = new byte[64];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Span => _bytes.AsSpan(0, Length);

    public void Write(ReadOnlySpan<byte> utf8)
    {
        if (utf8.Length > _bytes.Length - Length)
            Array.Resize(ref _bytes, Math.Max(Length + utf8.Length, _bytes.Length * 2));
        utf8.CopyTo(_bytes.AsSpan(Length));
        Length += utf8.Length;
    }

    public void Clear() => Length = 0;

    /// <summary>Drops everything from a place on.</summary>
    public void Truncate(int length) => Length = length;

    /// <summary>Drops the first bytes.</summary>
    public void Drop(int count)
    {
        _bytes.AsSpan(count, Length - count).CopyTo(_bytes);
        Length -= count;
    }

    /// <summary>As the last stage it only collects.</summary>
    public void EndToken()
    {
    }

    public void End()
    {
    }
}
