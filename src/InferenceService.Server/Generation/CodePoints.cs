namespace InferenceService.Server.Generation;

/// <summary>Characters as clients count them: Unicode code points, not UTF-16 units.</summary>
internal static class CodePoints
{
    /// <summary>Code points of a text without lone surrogates.</summary>
    public static int Count(ReadOnlySpan<char> text)
    {
        int count = text.Length;
        foreach (char c in text)
        {
            if (char.IsLowSurrogate(c))
                count--;
        }

        return count;
    }
}
