using System.Globalization;
using System.Text;

namespace InferenceService.Models;

/// <summary>Makes outside text fit to stand in a one-line message: quoted, bounded, without control characters.</summary>
internal static class Quote
{
    private const int MaxLength = 96;

    /// <summary>The text in single quotes, cut after <see cref="MaxLength"/> characters.</summary>
    public static string Value(string text)
    {
        var builder = new StringBuilder("'", Math.Min(text.Length, MaxLength) + 5);
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, MaxLength)))
            builder.Append(char.IsControl(c) || char.IsSurrogate(c) || c is '\u2028' or '\u2029' || char.GetUnicodeCategory(c) == UnicodeCategory.Format ? '?' : c);
        return builder.Append(text.Length > MaxLength ? "...'" : "'").ToString();
    }
}
