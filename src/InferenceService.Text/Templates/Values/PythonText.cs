using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates.Values;

/// <summary>Python's classes of characters and its way to write a string as a literal.</summary>
internal static class PythonText
{
    /// <summary>Python's <c>str.isspace</c>; .NET lacks the four separators U+001C to U+001F.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\u001c' and <= '\u001f';

    /// <summary>Where <c>splitlines</c> ends a line.</summary>
    public static bool IsLineBreak(char c) =>
        c is >= '\n' and <= '\r' or >= '\u001c' and <= '\u001e' or '\u0085' or '\u2028' or '\u2029';

    public static string TrimStart(string text)
    {
        int i = 0;
        while (i < text.Length && IsSpace(text[i]))
            i++;
        return text[i..];
    }

    public static string TrimEnd(string text)
    {
        int end = text.Length;
        while (end > 0 && IsSpace(text[end - 1]))
            end--;
        return text[..end];
    }

    public static string Trim(string text) => TrimStart(TrimEnd(text));

    /// <summary>The lines of a text, each with its break if <paramref name="keepEnds"/>.</summary>
    public static List<string> SplitLines(string text, bool keepEnds)
    {
        List<string> lines = [];
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (!IsLineBreak(text[i]))
                continue;
            int end = i;
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n')
                i++;
            lines.Add(text[start..(keepEnds ? i + 1 : end)]);
            start = i + 1;
        }
        if (start < text.Length)
            lines.Add(text[start..]);
        return lines;
    }

    public static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.SpaceSeparator);

    /// <summary>Appends the literal that Python's <c>repr</c> writes.</summary>
    public static void AppendLiteral(StringBuilder output, string text)
    {
        char quote = text.Contains('\'') && !text.Contains('"') ? '"' : '\'';
        output.Append(quote);
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c == quote || c == '\\')
                output.Append('\\').Append(c);
            else if (c is >= ' ' and <= '~')
                output.Append(c);
            else if (c is '\n' or '\r' or '\t')
                output.Append(c switch { '\n' => "\\n", '\r' => "\\r", _ => "\\t" });
            else if (Rune.DecodeFromUtf16(text.AsSpan(i), out Rune rune, out int used) == System.Buffers.OperationStatus.Done)
            {
                if (IsPrintable(rune))
                    output.Append(text, i, used);
                else
                    AppendEscape(output, rune.Value);
                i += used - 1;
            }
            else
                AppendEscape(output, c);
        }
        output.Append(quote);
    }

    /// <summary>What Python's <c>ascii</c> makes of a literal: everything beyond ASCII escaped.</summary>
    public static string ToAscii(string literal)
    {
        if (Ascii.IsValid(literal))
            return literal;
        StringBuilder output = new();
        for (int i = 0; i < literal.Length; i++)
        {
            if (literal[i] < 0x80)
                output.Append(literal[i]);
            else if (Rune.DecodeFromUtf16(literal.AsSpan(i), out Rune rune, out int used) == System.Buffers.OperationStatus.Done)
            {
                AppendEscape(output, rune.Value);
                i += used - 1;
            }
            else
                AppendEscape(output, literal[i]);
        }
        return output.ToString();
    }

    /// <summary>The literal of a short piece of text for a message: at most 64 characters of it.</summary>
    public static string Quote(string text)
    {
        StringBuilder output = new();
        AppendLiteral(output, text.Length <= 64 ? text : string.Concat(text.AsSpan(0, 61), "..."));
        return output.ToString();
    }

    private static void AppendEscape(StringBuilder output, int codePoint)
    {
        (string prefix, string format) = codePoint switch
        {
            <= 0xFF => ("\\x", "x2"),
            <= 0xFFFF => ("\\u", "x4"),
            _ => ("\\U", "x8"),
        };
        output.Append(prefix).Append(codePoint.ToString(format, CultureInfo.InvariantCulture));
    }
}
