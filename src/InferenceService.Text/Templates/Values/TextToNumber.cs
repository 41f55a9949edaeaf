using System.Globalization;
using System.Numerics;

namespace InferenceService.Text.Templates.Values;

/// <summary>Python's <c>int(text)</c> and <c>float(text)</c>.</summary>
internal static class TextToNumber
{
    /// <summary>The integer a text spells, or null. White space around it, a sign and single underscores between digits are allowed.</summary>
    /// <param name="text">The text.</param>
    /// <param name="radix">2 to 36, or 0 to read the base from a prefix.</param>
    public static BigInteger? ParseInteger(string text, int radix = 10)
    {
        text = PythonText.Trim(text);
        bool negative = text.StartsWith('-');
        if (negative || text.StartsWith('+'))
            text = text[1..];
        int prefixed = text.Length > 1 && text[0] == '0' ? char.ToLowerInvariant(text[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 } : 0;
        if (prefixed != 0 && (radix == prefixed || radix == 0))
        {
            text = text[2..];
            radix = prefixed;
            if (text.StartsWith('_'))
                text = text[1..];
        }
        else if (radix == 0)
        {
            if (text.Length > 1 && text[0] == '0' && text.Trim('0', '_').Length > 0)
                return null;
            radix = 10;
        }
        if (WithoutUnderscores(text) is not { Length: > 0 and <= IntValue.MaxBits } digits)
            return null;
        BigInteger number = BigInteger.Zero;
        foreach (char c in digits)
        {
            int digit = DigitOf(c);
            if (digit < 0 || digit >= radix)
                return null;
            number = number * radix + digit;
        }
        return negative ? -number : number;
    }

    /// <summary>The float a text spells, or null.</summary>
    public static double? ParseFloat(string text)
    {
        text = PythonText.Trim(text);
        string bare = text.TrimStart('+', '-').ToLowerInvariant();
        if (text.Length - bare.Length > 1)
            return null;
        if (bare is "nan" or "inf" or "infinity")
            return bare == "nan" ? double.NaN : text[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity;
        if (bare.Length == 0 || !(char.IsAsciiDigit(bare[0]) || bare[0] == '.') || WithoutUnderscores(text) is not { } digits)
            return null;
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        return double.TryParse(digits, Style, CultureInfo.InvariantCulture, out double number) ? number : null;
    }

    /// <summary>Python's <c>int(float)</c>.</summary>
    public static BigInteger Truncate(double number)
    {
        if (double.IsNaN(number))
            throw new TemplateException("cannot convert float NaN to integer");
        return double.IsInfinity(number) ? throw new TemplateException("cannot convert float infinity to integer") : new BigInteger(number);
    }

    /// <summary>The text without its underscores, or null if one is not between two digits.</summary>
    private static string? WithoutUnderscores(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '_' && (i == 0 || i + 1 == text.Length || !char.IsAsciiLetterOrDigit(text[i - 1]) || !char.IsAsciiLetterOrDigit(text[i + 1])))
                return null;
        }
        return text.Replace("_", "", StringComparison.Ordinal);
    }

    private static int DigitOf(char c) => c switch
    {
        >= 'a' and <= 'z' => c - 'a' + 10,
        >= 'A' and <= 'Z' => c - 'A' + 10,
        _ => CharUnicodeInfo.GetDecimalDigitValue(c),
    };
}
