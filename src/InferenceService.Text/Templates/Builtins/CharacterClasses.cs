using System.Globalization;
using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>The <c>is...</c> methods of a string that ask about kinds of characters. All but three are false for the empty string.</summary>
internal static class CharacterClasses
{
    public static bool IsAlpha(string text) => All(text, IsLetter);

    public static bool IsAlphanumeric(string text) => All(text, IsWordCharacter);

    public static bool IsDecimal(string text) => All(text, rune => Rune.GetUnicodeCategory(rune) == UnicodeCategory.DecimalDigitNumber);

    public static bool IsDigit(string text) => All(text, IsDigitRune);

    public static bool IsNumeric(string text) => All(text, IsNumericRune);

    public static bool IsSpace(string text) => All(text, rune => rune.IsBmp && PythonText.IsSpace((char)rune.Value));

    public static bool IsAscii(string text) => System.Text.Ascii.IsValid(text);

    public static bool IsPrintable(string text) => text.Length == 0 || All(text, PythonText.IsPrintable);

    public static bool IsIdentifier(string text)
    {
        if (text.Length == 0 || char.IsAsciiDigit(text[0]))
            return false;
        bool first = true;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool start = IsLetter(rune) || rune.Value == '_' || Rune.GetUnicodeCategory(rune) == UnicodeCategory.LetterNumber;
            bool further = Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark
                or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation;
            if (!start && (first || !further))
                return false;
            first = false;
        }
        return true;
    }

    /// <summary>What Python's <c>\w</c> matches, apart from the underscore.</summary>
    public static bool IsWordCharacter(Rune rune) => IsLetter(rune) || IsNumericRune(rune);

    private static bool IsLetter(Rune rune) => Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter
        or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter;

    private static bool IsDigitRune(Rune rune) =>
        Rune.GetUnicodeCategory(rune) == UnicodeCategory.DecimalDigitNumber || CharUnicodeInfo.GetDigitValue(rune.ToString(), 0) >= 0;

    private static bool IsNumericRune(Rune rune) => Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber
        or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber || CharUnicodeInfo.GetNumericValue(rune.ToString(), 0) >= 0;

    private static bool All(string text, Func<Rune, bool> test)
    {
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (!test(rune))
                return false;
        }
        return text.Length > 0;
    }
}
