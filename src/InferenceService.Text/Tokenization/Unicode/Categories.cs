using System.Globalization;

namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>General categories and the derived classes that regular expressions and tokenizers name.</summary>
internal static class Categories
{
    private static readonly Lazy<CodePointSet[]> Members = new(Collect);

    /// <summary>\s: White_Space.</summary>
    public static CodePointSet WhiteSpace { get; } = Union([(0x9, 0xD), (0x85, 0x85)], UnicodeCategory.SpaceSeparator,
        UnicodeCategory.LineSeparator, UnicodeCategory.ParagraphSeparator);

    public static CodePointSet Alphabetic { get; } = Property("Alphabetic");

    public static CodePointSet Uppercase { get; } = Property("Uppercase");

    public static CodePointSet Lowercase { get; } = Property("Lowercase");

    /// <summary>Alphabetic, marks, decimal digits, connectors: the core of every \w.</summary>
    public static CodePointSet Word { get; } = WordSet([]);

    public static CodePointMatcher WhiteSpaceMatcher { get; } = WhiteSpace.Freeze();

    /// <summary>\w as Rust's regex crate has it (UTS #18), with join controls. It decides about single-word tokens and the
    /// "Whitespace" type.</summary>
    public static CodePointMatcher WordMatcher { get; } = WordSet([(0x200C, 0x200D)]).Freeze();

    /// <summary>\w as Oniguruma has it: with the superscript digits and fractions of Latin-1, without join controls.</summary>
    public static CodePointSet PatternWord { get; } = WordSet([(0xB2, 0xB3), (0xB9, 0xB9), (0xBC, 0xBE)]);

    public static CodePointMatcher PatternWordMatcher { get; } = PatternWord.Freeze();

    /// <summary>Punctuation of any kind, or one of the ASCII symbols that C calls punctuation.</summary>
    public static CodePointMatcher PunctuationMatcher { get; } = PunctuationSet().Freeze();

    /// <summary>Digits, letter numbers and other numbers.</summary>
    public static CodePointMatcher NumericMatcher { get; } = Union([], UnicodeCategory.DecimalDigitNumber, UnicodeCategory.LetterNumber,
        UnicodeCategory.OtherNumber).Freeze();

    /// <summary>Every code point of one general category.</summary>
    public static CodePointSet Of(UnicodeCategory category) => Members.Value[(int)category];

    public static bool IsMark(int codePoint) => CharUnicodeInfo.GetUnicodeCategory(codePoint) is
        UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    public static CodePointSet Union(ReadOnlySpan<(int First, int Last)> ranges, params ReadOnlySpan<UnicodeCategory> categories)
    {
        var set = new CodePointSet();
        foreach ((int first, int last) in ranges)
            set.Add(first, last);
        foreach (UnicodeCategory category in categories)
            set.Add(Of(category));
        return set.Settle();
    }

    private static CodePointSet WordSet(ReadOnlySpan<(int First, int Last)> more)
    {
        CodePointSet set = Union(more, UnicodeCategory.NonSpacingMark, UnicodeCategory.SpacingCombiningMark, UnicodeCategory.EnclosingMark,
            UnicodeCategory.DecimalDigitNumber, UnicodeCategory.ConnectorPunctuation);
        set.Add(Alphabetic);
        return set.Settle();
    }

    private static CodePointSet Property(string wanted)
    {
        TableReader table = TableReader.Open("properties.bin");
        for (int sets = table.Number(); sets > 0; sets--)
        {
            string name = table.Text();
            CodePointSet set = table.Ranges();

            // The table may be of a later Unicode version than .NET's categories; together they should be of one.
            if (name == wanted)
                return set.Intersect(Of(UnicodeCategory.OtherNotAssigned).Complement()).Settle();
        }

        throw new InvalidOperationException($"properties.bin has no {wanted}");
    }

    private static CodePointSet PunctuationSet() => Union([(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)],
        UnicodeCategory.ConnectorPunctuation, UnicodeCategory.DashPunctuation, UnicodeCategory.OpenPunctuation,
        UnicodeCategory.ClosePunctuation, UnicodeCategory.InitialQuotePunctuation, UnicodeCategory.FinalQuotePunctuation,
        UnicodeCategory.OtherPunctuation);

    private static CodePointSet[] Collect()
    {
        var sets = new CodePointSet[30];
        for (int i = 0; i < sets.Length; i++)
            sets[i] = new CodePointSet();
        int first = 0;
        UnicodeCategory current = CharUnicodeInfo.GetUnicodeCategory(0);
        for (int c = 1; c <= CodePointSet.Last; c++)
        {
            UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(c);
            if (category == current)
                continue;
            sets[(int)current].Add(first, c - 1);
            (first, current) = (c, category);
        }

        sets[(int)current].Add(first, CodePointSet.Last);
        return sets;
    }
}
