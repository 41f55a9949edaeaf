namespace InferenceService.Text.Tokenization;

/// <summary>How much text one id may stand for, so that a text's ids can be bounded from below without encoding it.</summary>
/// <param name="Characters">Most UTF-16 characters of a text that become one id.</param>
/// <param name="IgnoresWhiteSpace">White space does not count: an added token may swallow any amount of it.</param>
internal sealed record TokenSpan(int Characters, bool IgnoresWhiteSpace)
{
    /// <summary>The span of a pipeline; null when one of its stages may leave text out.</summary>
    public static TokenSpan? Of(TokenizerParts parts)
    {
        bool mapsBytes = parts.Added.MapsBytes || parts.PreTokenizer?.MapsBytes == true;
        (bool stripsRaw, bool stripsNormalized) = parts.Added.Strips;
        // What a normalizer turns into white space need not have been any.
        bool keepsText = (parts.PreTokenizer?.KeepsText ?? true) && !(stripsNormalized && parts.Normalizer is not null);
        int? condensation = parts.Normalizer is null ? 1 : parts.Normalizer.Condensation;
        if (!keepsText || condensation is not { } condensed || parts.Algorithm.CharactersPerToken(mapsBytes) is not { } ofAlgorithm)
            return null;
        return new TokenSpan(Math.Max(ofAlgorithm, parts.Added.LongestToken) * condensed, stripsRaw || stripsNormalized);
    }

    /// <summary>Ids that the text is sure to reach.</summary>
    public int FewestTokens(ReadOnlySpan<char> text)
    {
        int counted = text.Length;
        if (IgnoresWhiteSpace)
        {
            foreach (char c in text)
                counted -= char.IsWhiteSpace(c) ? 1 : 0;
        }

        return (int)(((long)counted + Characters - 1) / Characters);
    }
}
