namespace InferenceService.Server.Generation;

/// <summary>Text that grows at its end and is taken from its start, without a string per change.</summary>
internal sealed class TextBuffer
{
    private char[] _chars = [];

    /// <summary>UTF-16 characters.</summary>
    public int Length { get; private set; }

    /// <summary>The text. Valid until the next change.</summary>
    public ReadOnlySpan<char> Span => _chars.AsSpan(0, Length);

    public void Append(char c)
    {
        if (Length == _chars.Length)
            Array.Resize(ref _chars, Math.Max(64, _chars.Length * 2));
        _chars[Length++] = c;
    }

    public void Append(ReadOnlySpan<char> text)
    {
        if (Length + text.Length > _chars.Length)
            Array.Resize(ref _chars, Math.Max(64, Math.Max(Length + text.Length, _chars.Length * 2)));
        text.CopyTo(_chars.AsSpan(Length));
        Length += text.Length;
    }

    /// <summary>Drops the first <paramref name="count"/> characters.</summary>
    public void RemoveStart(int count)
    {
        _chars.AsSpan(count, Length - count).CopyTo(_chars);
        Length -= count;
    }

    public void Clear() => Length = 0;

    /// <inheritdoc/>
    public override string ToString() => new(Span);
}
