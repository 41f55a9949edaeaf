namespace InferenceService.Text.Templates.Values;

/// <summary>HTML escaping as the filters <c>escape</c> and <c>safe</c> mean it.</summary>
internal static class Markup
{
    /// <summary>The text with the five special characters of HTML escaped; markup is returned as it is.</summary>
    public static string Escape(StringValue text, Budget budget) => text.IsMarkup ? text.Text : Escape(text.Text, budget);

    public static string Escape(string text, Budget budget)
    {
        budget.MakeChars(text.Length);
        if (text.AsSpan().IndexOfAny("&<>'\"") < 0)
            return text;
        string escaped = text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
            .Replace(">", "&gt;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal)
            .Replace("\"", "&#34;", StringComparison.Ordinal);
        budget.MakeChars(escaped.Length);
        return escaped;
    }
}
