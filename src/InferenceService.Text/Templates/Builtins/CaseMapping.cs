using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>
/// Python's full case mapping: where one character becomes several (ß to SS) and where its neighbours decide (final sigma),
/// which .NET's mapping of single characters leaves out. Source of the table: SpecialCasing.txt of the Unicode data.
/// </summary>
internal static class CaseMapping
{
    // Entries separated by blanks: a character, then its upper-case form.
    private const string Expansions =
        "\u00df\u0053\u0053 \u0149\u02bc\u004e \u01f0\u004a\u030c \u0390\u0399\u0308\u0301 "
        + "\u03b0\u03a5\u0308\u0301 \u0587\u0535\u0552 \u1e96\u0048\u0331 \u1e97\u0054\u0308 "
        + "\u1e98\u0057\u030a \u1e99\u0059\u030a \u1e9a\u0041\u02be \u1f50\u03a5\u0313 "
        + "\u1f52\u03a5\u0313\u0300 \u1f54\u03a5\u0313\u0301 \u1f56\u03a5\u0313\u0342 \u1f80\u1f08\u0399 "
        + "\u1f81\u1f09\u0399 \u1f82\u1f0a\u0399 \u1f83\u1f0b\u0399 \u1f84\u1f0c\u0399 \u1f85\u1f0d\u0399 "
        + "\u1f86\u1f0e\u0399 \u1f87\u1f0f\u0399 \u1f88\u1f08\u0399 \u1f89\u1f09\u0399 \u1f8a\u1f0a\u0399 "
        + "\u1f8b\u1f0b\u0399 \u1f8c\u1f0c\u0399 \u1f8d\u1f0d\u0399 \u1f8e\u1f0e\u0399 \u1f8f\u1f0f\u0399 "
        + "\u1f90\u1f28\u0399 \u1f91\u1f29\u0399 \u1f92\u1f2a\u0399 \u1f93\u1f2b\u0399 \u1f94\u1f2c\u0399 "
        + "\u1f95\u1f2d\u0399 \u1f96\u1f2e\u0399 \u1f97\u1f2f\u0399 \u1f98\u1f28\u0399 \u1f99\u1f29\u0399 "
        + "\u1f9a\u1f2a\u0399 \u1f9b\u1f2b\u0399 \u1f9c\u1f2c\u0399 \u1f9d\u1f2d\u0399 \u1f9e\u1f2e\u0399 "
        + "\u1f9f\u1f2f\u0399 \u1fa0\u1f68\u0399 \u1fa1\u1f69\u0399 \u1fa2\u1f6a\u0399 \u1fa3\u1f6b\u0399 "
        + "\u1fa4\u1f6c\u0399 \u1fa5\u1f6d\u0399 \u1fa6\u1f6e\u0399 \u1fa7\u1f6f\u0399 \u1fa8\u1f68\u0399 "
        + "\u1fa9\u1f69\u0399 \u1faa\u1f6a\u0399 \u1fab\u1f6b\u0399 \u1fac\u1f6c\u0399 \u1fad\u1f6d\u0399 "
        + "\u1fae\u1f6e\u0399 \u1faf\u1f6f\u0399 \u1fb2\u1fba\u0399 \u1fb3\u0391\u0399 \u1fb4\u0386\u0399 "
        + "\u1fb6\u0391\u0342 \u1fb7\u0391\u0342\u0399 \u1fbc\u0391\u0399 \u1fc2\u1fca\u0399 "
        + "\u1fc3\u0397\u0399 \u1fc4\u0389\u0399 \u1fc6\u0397\u0342 \u1fc7\u0397\u0342\u0399 "
        + "\u1fcc\u0397\u0399 \u1fd2\u0399\u0308\u0300 \u1fd3\u0399\u0308\u0301 \u1fd6\u0399\u0342 "
        + "\u1fd7\u0399\u0308\u0342 \u1fe2\u03a5\u0308\u0300 \u1fe3\u03a5\u0308\u0301 \u1fe4\u03a1\u0313 "
        + "\u1fe6\u03a5\u0342 \u1fe7\u03a5\u0308\u0342 \u1ff2\u1ffa\u0399 \u1ff3\u03a9\u0399 "
        + "\u1ff4\u038f\u0399 \u1ff6\u03a9\u0342 \u1ff7\u03a9\u0342\u0399 \u1ffc\u03a9\u0399 "
        + "\ufb00\u0046\u0046 \ufb01\u0046\u0049 \ufb02\u0046\u004c \ufb03\u0046\u0046\u0049 "
        + "\ufb04\u0046\u0046\u004c \ufb05\u0053\u0054 \ufb06\u0053\u0054 \ufb13\u0544\u0546 "
        + "\ufb14\u0544\u0535 \ufb15\u0544\u053b \ufb16\u054e\u0546 \ufb17\u0544\u053d";

    private static readonly Dictionary<int, string> UpperExpansions =
        Expansions.Split(' ').ToDictionary(entry => (int)entry[0], entry => entry[1..]);

    public static string Upper(string text) =>
        Ascii.IsValid(text) ? text.ToUpperInvariant() : Map(text, (output, rune) => output.Append(UpperOf(rune)));

    public static string Lower(string text)
    {
        if (Ascii.IsValid(text))
            return text.ToLowerInvariant();
        StringBuilder output = new(text.Length);
        for (int i = 0; i < text.Length;)
        {
            Rune rune = RuneAt(text, i, out int length);
            output.Append(LowerOf(rune, text, i));
            i += length;
        }
        return output.ToString();
    }

    /// <summary>Case folding: the lower case of the upper case, apart from the dotless i and Cherokee, which folds to upper case.</summary>
    public static string Fold(string text) => Map(text, (output, rune) => output.Append(rune.Value switch
    {
        0x130 => "i\u0307",
        0x131 => "\u0131",
        >= 0x13A0 and <= 0x13FD or >= 0xAB70 and <= 0xABBF => UpperOf(rune),
        _ => string.Concat(UpperOf(rune).EnumerateRunes().Select(upper => Rune.ToLowerInvariant(upper).ToString())),
    }));

    public static string Swap(string text)
    {
        StringBuilder output = new(text.Length);
        for (int i = 0; i < text.Length;)
        {
            Rune rune = RuneAt(text, i, out int length);
            output.Append(IsTitleRune(rune) ? rune.ToString() : IsUpperRune(rune) ? LowerOf(rune, text, i) : IsLowerRune(rune) ? UpperOf(rune) : rune.ToString());
            i += length;
        }
        return output.ToString();
    }

    /// <summary>The first character in title case, all others in lower case.</summary>
    public static string Capitalize(string text)
    {
        if (text.Length == 0)
            return text;
        Rune first = RuneAt(text, 0, out int length);
        string lower = Lower(text);
        RuneAt(lower, 0, out int lowerLength);
        if (first.Value == 0x130)
            lowerLength = 2;
        return TitleOf(first) + lower[Math.Min(lower.Length, text.Length == length ? lower.Length : lowerLength)..];
    }

    /// <summary>Title case after every character that has no case.</summary>
    public static string Title(string text)
    {
        StringBuilder output = new(text.Length);
        bool inWord = false;
        for (int i = 0; i < text.Length;)
        {
            Rune rune = RuneAt(text, i, out int length);
            output.Append(inWord ? LowerOf(rune, text, i) : TitleOf(rune));
            inWord = IsCased(rune);
            i += length;
        }
        return output.ToString();
    }

    public static bool IsLower(string text) => text.EnumerateRunes().Any(IsLowerRune) && !text.EnumerateRunes().Any(IsUpperRune);

    public static bool IsUpper(string text) =>
        text.EnumerateRunes().Any(r => IsUpperRune(r) && !IsTitleRune(r)) && !text.EnumerateRunes().Any(r => IsLowerRune(r) || IsTitleRune(r));

    public static bool IsTitle(string text)
    {
        bool any = false, inWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (IsUpperRune(rune) ? inWord : IsLowerRune(rune) && !inWord)
                return false;
            inWord = IsCased(rune);
            any |= inWord;
        }
        return any;
    }

    private static string Map(string text, Action<StringBuilder, Rune> append)
    {
        StringBuilder output = new(text.Length);
        for (int i = 0; i < text.Length;)
        {
            Rune rune = RuneAt(text, i, out int length);
            append(output, rune);
            i += length;
        }
        return output.ToString();
    }

    /// <summary>The character at an offset; a lone surrogate reads as U+FFFD.</summary>
    private static Rune RuneAt(string text, int offset, out int length)
    {
        Rune.DecodeFromUtf16(text.AsSpan(offset), out Rune rune, out length);
        return rune;
    }

    private static string UpperOf(Rune rune) => UpperExpansions.TryGetValue(rune.Value, out string? expansion)
        ? expansion
        : rune.Value switch
        {
            0x131 => "I",
            0x17F => "S",
            _ => Rune.ToUpperInvariant(rune).ToString(),
        };

    private static string TitleOf(Rune rune)
    {
        int c = rune.Value;
        switch (c)
        {
            case >= 0x1C4 and <= 0x1CC:
                return ((char)(0x1C5 + (c - 0x1C4) / 3 * 3)).ToString();
            case >= 0x1F1 and <= 0x1F3:
                return "\u01f2";
            case >= 0x10D0 and <= 0x10FF or 0x1FBC or 0x1FCC or 0x1FFC:
                return rune.ToString();
            case >= 0x1F80 and <= 0x1FAF:
                return ((char)(c | 8)).ToString();
            case 0x1FB3 or 0x1FC3 or 0x1FF3:
                return ((char)(c + 9)).ToString();
        }
        string upper = UpperOf(rune);
        if (c is 0xDF or 0x587 or >= 0xFB00 and <= 0xFB17)
            return upper[..1] + Lower(upper[1..]);
        return UpperExpansions.ContainsKey(c) && upper[^1] == '\u0399' ? upper[..^1] + "\u0345" : upper;
    }

    private static string LowerOf(Rune rune, string text, int offset) => rune.Value switch
    {
        0x130 => "i\u0307",
        0x3A3 => IsFinal(text, offset) ? "\u03c2" : "\u03c3",
        _ => Rune.ToLowerInvariant(rune).ToString(),
    };

    /// <summary>Whether a sigma ends its word: a cased letter before it and none after it, ignoring what has no case of its own.</summary>
    private static bool IsFinal(string text, int offset)
    {
        int before = offset - 1, after = offset + 1;
        while (before >= 0 && IsCaseIgnorable(text[before]))
            before--;
        while (after < text.Length && IsCaseIgnorable(text[after]))
            after++;
        return before >= 0 && IsCased(RuneAround(text, before)) && !(after < text.Length && IsCased(RuneAround(text, after)));
    }

    private static Rune RuneAround(string text, int offset) =>
        RuneAt(text, char.IsLowSurrogate(text[offset]) && offset > 0 ? offset - 1 : offset, out _);

    private static bool IsCaseIgnorable(char c) => c is '\'' or '.' or ':' or '^' or '`' or '\u00a8' or '\u00ad' or '\u00b7' or '\u2019'
        || char.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format
            or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol;

    private static bool IsCased(Rune rune) => IsUpperRune(rune) || IsLowerRune(rune);

    private static bool IsTitleRune(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter;

    // The letters of the two categories, and what else has the Unicode properties Uppercase and Lowercase (DerivedCoreProperties.txt).
    private static bool IsUpperRune(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter
        || rune.Value is >= 0x2160 and <= 0x216F or >= 0x24B6 and <= 0x24CF
            or >= 0x1F130 and <= 0x1F149 or >= 0x1F150 and <= 0x1F169 or >= 0x1F170 and <= 0x1F189;

    private static bool IsLowerRune(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.LowercaseLetter
        || rune.Value is 0xAA or 0xBA or >= 0x2B0 and <= 0x2B8 or 0x2C0 or 0x2C1 or >= 0x2E0 and <= 0x2E4 or 0x345 or 0x37A
            or >= 0x1D2C and <= 0x1D6A or 0x1D78 or >= 0x1D9B and <= 0x1DBF or 0x2071 or 0x207F or >= 0x2090 and <= 0x209C
            or >= 0x2170 and <= 0x217F or >= 0x24D0 and <= 0x24E9 or 0x2C7C or 0x2C7D or 0xA69C or 0xA69D or 0xA770
            or 0xA7F8 or 0xA7F9 or >= 0xAB5C and <= 0xAB5F;
}
