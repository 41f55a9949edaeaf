namespace InferenceService.Text.Templates.Values;

/// <summary>A string. Python counts code points where .NET counts UTF-16 units; the members here count code points.</summary>
/// <param name="text">The characters; a lone surrogate counts as one code point.</param>
/// <param name="isMarkup">True for what <c>safe</c> and <c>escape</c> return: text that escapes whatever is added to it.</param>
internal sealed class StringValue(string text, bool isMarkup = false) : Value
{
    public static readonly StringValue Empty = new("");

    // UTF-16 offset of each code point and of the end; empty while the text is known to hold no surrogate pair.
    private int[]? _offsets;

    public string Text { get; } = text;

    public bool IsMarkup { get; } = isMarkup;

    /// <summary>Number of code points.</summary>
    public int Length => Offsets.Length == 0 ? Text.Length : Offsets.Length - 1;

    internal override string TypeName => IsMarkup ? "Markup" : "str";

    internal override bool IsTrue => Text.Length > 0;

    private int[] Offsets => _offsets ??= FindOffsets(Text);

    /// <summary>The UTF-16 offset of code point <paramref name="index"/>, 0 to <see cref="Length"/>.</summary>
    public int OffsetOf(int index) => Offsets.Length == 0 ? index : Offsets[index];

    /// <summary>The code point index of a UTF-16 offset.</summary>
    public int IndexOf(int offset)
    {
        if (Offsets.Length == 0)
            return offset;
        int found = Array.BinarySearch(Offsets, offset);
        return found >= 0 ? found : ~found;
    }

    /// <summary>Code points <paramref name="start"/> to <paramref name="stop"/>, exclusive.</summary>
    public string Range(int start, int stop) =>
        start >= stop ? "" : Text[OffsetOf(start)..OffsetOf(stop)];

    public string CharAt(int index) => Range(index, index + 1);

    /// <summary>The same kind of string with another text.</summary>
    public StringValue With(string other) => new(other, IsMarkup);

    private static int[] FindOffsets(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDBFF') < 0)
            return [];
        List<int> offsets = new(text.Length + 1);
        for (int i = 0; i < text.Length; i++)
        {
            offsets.Add(i);
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                i++;
        }
        offsets.Add(text.Length);
        return offsets.Count == text.Length + 1 ? [] : [.. offsets];
    }
}
