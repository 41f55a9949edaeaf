using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates;

/// <summary>The backslash escapes of a string literal, as Python decodes them; an unknown escape stays as it is written.</summary>
internal static class StringEscapes
{
    public static string Decode(string literal, int line)
    {
        int escape = literal.IndexOf('\\', StringComparison.Ordinal);
        if (escape < 0)
            return literal;
        StringBuilder output = new(literal.Length);
        output.Append(literal, 0, escape);
        for (int i = escape; i < literal.Length; i++)
        {
            if (literal[i] != '\\')
            {
                output.Append(literal[i]);
                continue;
            }
            i = DecodeOne(literal, i + 1, output, line);
        }
        return output.ToString();
    }

    /// <summary>Decodes the escape whose letter is at <paramref name="at"/>; returns its last position.</summary>
    private static int DecodeOne(string literal, int at, StringBuilder output, int line)
    {
        char c = literal[at];
        const string Letters = "\n\\'\"abfnrtv";
        const string Meanings = "\0\\'\"\a\b\f\n\r\t\v";
        int known = Letters.IndexOf(c, StringComparison.Ordinal);
        if (known > 0)
            output.Append(Meanings[known]);
        else if (known < 0 && c is >= '0' and <= '7')
            return DecodeOctal(literal, at, output);
        else if (c is 'x' or 'u' or 'U')
            return DecodeHex(literal, at, c switch { 'x' => 2, 'u' => 4, _ => 8 }, output, line);
        else if (c == 'N')
            throw new TemplateException("string escapes of the form \\N{name} are not supported", line);
        else if (known < 0)
            output.Append('\\').Append(c);
        return at; // a backslash before a line break removes both
    }

    private static int DecodeOctal(string literal, int at, StringBuilder output)
    {
        int value = 0, end = at;
        while (end < literal.Length && end < at + 3 && literal[end] is >= '0' and <= '7')
            value = value * 8 + (literal[end++] - '0');
        output.Append((char)value);
        return end - 1;
    }

    private static int DecodeHex(string literal, int at, int digits, StringBuilder output, int line)
    {
        string hex = literal.Substring(at + 1, Math.Min(digits, literal.Length - at - 1));
        if (hex.Length < digits || !hex.All(char.IsAsciiHexDigit))
            throw new TemplateException($"truncated \\{literal[at]} escape in a string", line);
        uint value = uint.Parse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        if (value > 0x10FFFF)
            throw new TemplateException($"\\U{hex} in a string is not a Unicode character", line);
        if (value < 0x10000)
            output.Append((char)value);
        else
            output.Append(char.ConvertFromUtf32((int)value));
        return at + digits;
    }
}
