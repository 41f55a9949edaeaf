using System.Globalization;
using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "BertNormalizer": cleaning, spaces around ideographs, accents off, lower case, in that order.</summary>
internal sealed class BertNormalizer : INormalizer
{
    private readonly bool _cleanText;
    private readonly bool _spaceIdeographs;
    private readonly bool _stripAccents;
    private readonly bool _lowercase;

    public BertNormalizer(JsonPart part)
    {
        _cleanText = part.Bool("clean_text", true);
        _spaceIdeographs = part.Bool("handle_chinese_chars", true);
        _lowercase = part.Bool("lowercase", true);
        _stripAccents = part.Bool("strip_accents", _lowercase);
    }

    public string Normalize(string text)
    {
        if (_cleanText || _spaceIdeographs)
            text = Rewrite(text);
        if (_stripAccents)
            text = DropNonSpacing(Normalization.Normalize(text, UnicodeForm.Nfd));
        return _lowercase ? Lowercase.ToLower(text) : text;
    }

    private string Rewrite(string text)
    {
        var result = new StringBuilder(text.Length + 8);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (_cleanText && IsDropped(rune))
                continue;
            if (_cleanText && Rune.IsWhiteSpace(rune))
                result.Append(' ');
            else if (_spaceIdeographs && IsIdeograph(rune.Value))
                result.Append(' ').Append(rune).Append(' ');
            else
                result.Append(rune);
        }

        return result.ToString();
    }

    private static string DropNonSpacing(string text)
    {
        var result = new StringBuilder(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value < 0x300 || Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark)
                result.Append(rune);
        }

        return result.ToString();
    }

    private static bool IsDropped(Rune rune) => rune.Value is not ('\t' or '\n' or '\r')
        && (rune.Value is 0 or 0xFFFD
            || Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse);

    /// <summary>The CJK ideograph blocks that BERT lists; one of them (U+2B820..U+2B91F) is missing there too.</summary>
    private static bool IsIdeograph(int c) => c is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF)
        or (>= 0x2A700 and <= 0x2B73F) or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF)
        or (>= 0x2F800 and <= 0x2FA1F);
}
