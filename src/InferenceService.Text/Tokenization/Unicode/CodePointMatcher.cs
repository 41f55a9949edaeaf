namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>An immutable <see cref="CodePointSet"/>: one bit per UTF-16 unit, a binary search for the supplementary planes.</summary>
internal sealed class CodePointMatcher
{
    private readonly ulong[] _units = new ulong[0x10000 / 64];
    private readonly int[] _firsts;
    private readonly int[] _lasts;

    public CodePointMatcher(CodePointSet set)
    {
        var firsts = new List<int>();
        var lasts = new List<int>();
        foreach ((int first, int last) in set.Ranges)
        {
            for (int c = first; c <= Math.Min(last, 0xFFFF); c++)
                _units[c >> 6] |= 1UL << (c & 63);
            if (last > 0xFFFF)
            {
                firsts.Add(Math.Max(first, 0x10000));
                lasts.Add(last);
            }
        }

        _firsts = [.. firsts];
        _lasts = [.. lasts];
    }

    /// <summary>For a unit that is a whole code point.</summary>
    public bool Contains(char unit) => (_units[unit >> 6] & (1UL << (unit & 63))) != 0;

    public bool Contains(int codePoint)
    {
        if (codePoint <= 0xFFFF)
            return Contains((char)codePoint);
        int at = Array.BinarySearch(_firsts, codePoint);
        if (at < 0)
            at = ~at - 1;
        return at >= 0 && codePoint <= _lasts[at];
    }

    /// <summary>How many units the code point at <paramref name="position"/> takes when it is in the set; otherwise 0. The position
    /// is inside the text.</summary>
    public int MatchLength(ReadOnlySpan<char> text, int position)
    {
        char unit = text[position];
        if (!char.IsHighSurrogate(unit) || position + 1 >= text.Length || !char.IsLowSurrogate(text[position + 1]))
            return Contains(unit) ? 1 : 0;
        return Contains(char.ConvertToUtf32(unit, text[position + 1])) ? 2 : 0;
    }
}
