using System.Text;
using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Replace": every match of a string or a regular expression becomes a fixed string.</summary>
internal sealed class Replace(JsonPart part) : INormalizer
{
    private const int MaxContent = 1000;

    private readonly Pattern _pattern = Pattern.Read(part.Required("pattern"));
    private readonly string _content = ReadContent(part);

    public int? Condensation => _pattern.LiteralText is { } literal && literal.Length <= _content.Length ? 1 : null;

    public string Normalize(string text) => Apply(_pattern, _content, text);

    /// <summary>The replacement, which is refused above a length that no real file comes near.</summary>
    public static string ReadContent(JsonPart part)
    {
        JsonPart field = part.Required("content");
        string content = field.String();
        return content.Length <= MaxContent ? content : throw field.Error($"is {content.Length} characters long; at most {MaxContent} are allowed");
    }

    public static string Apply(Pattern pattern, string content, string text)
    {
        if (pattern.LiteralText is { } literal)
            return text.Replace(literal, content, StringComparison.Ordinal);
        StringBuilder? result = null;
        int copied = 0;
        PatternScan scan = pattern.Scan(text);
        try
        {
            while (scan.Next())
            {
                result ??= new StringBuilder(text.Length);
                result.Append(text, copied, scan.Start - copied).Append(content);
                copied = scan.End;
            }
        }
        finally
        {
            scan.Dispose();
        }

        return result is null ? text : result.Append(text, copied, text.Length - copied).ToString();
    }
}
