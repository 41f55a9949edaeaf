namespace InferenceService.Text.Templates;

/// <summary>Where a number literal ends: decimal, <c>0x</c>, <c>0o</c>, <c>0b</c>, floats, underscores between digits.</summary>
internal static class NumberScanner
{
    /// <param name="source">The template.</param>
    /// <param name="start">At a decimal digit.</param>
    public static (int End, bool IsFloat) Scan(string source, int start)
    {
        // After a dot only an integer can follow (x.0.1 means item 1 of item 0).
        if ((start == 0 || source[start - 1] != '.') && FloatEnd(source, start) is int end)
            return (end, true);
        if (source[start] != '0')
            return (Digits(source, start, char.IsAsciiDigit), false);
        Func<char, bool>? digit = (start + 1 < source.Length ? source[start + 1] : ' ') switch
        {
            'x' or 'X' => char.IsAsciiHexDigit,
            'o' or 'O' => c => c is >= '0' and <= '7',
            'b' or 'B' => c => c is '0' or '1',
            _ => null,
        };
        if (digit is not null)
        {
            int first = start + 2 < source.Length && source[start + 2] == '_' ? start + 3 : start + 2;
            if (first < source.Length && digit(source[first]))
                return (Digits(source, first, digit), false);
        }
        return (Digits(source, start, c => c == '0'), false);
    }

    private static int? FloatEnd(string source, int start)
    {
        int end = Digits(source, start, char.IsAsciiDigit);
        bool fraction = end + 1 < source.Length && source[end] == '.' && char.IsAsciiDigit(source[end + 1]);
        if (fraction)
            end = Digits(source, end + 1, char.IsAsciiDigit);
        if (end < source.Length && source[end] is 'e' or 'E')
        {
            int exponent = end + 1 < source.Length && source[end + 1] is '+' or '-' ? end + 2 : end + 1;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
                return Digits(source, exponent, char.IsAsciiDigit);
        }
        return fraction ? end : null;
    }

    /// <summary>Past digits and the single underscores between them.</summary>
    private static int Digits(string source, int position, Func<char, bool> isDigit)
    {
        while (position < source.Length
            && (isDigit(source[position]) || (source[position] == '_' && position + 1 < source.Length && isDigit(source[position + 1]))))
        {
            position++;
        }
        return position;
    }
}
