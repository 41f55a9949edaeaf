using System.Globalization;

namespace InferenceService.Benchmarks.Load;

/// <summary>Finds the count of generated tokens in an event, without parsing those that have none.</summary>
internal static class UsageLine
{
    private const string Key = "\"completion_tokens\":";

    /// <summary>False where the event has no usage.</summary>
    public static bool TryRead(string line, out int tokens)
    {
        tokens = 0;
        int at = line.IndexOf(Key, StringComparison.Ordinal);
        if (at < 0)
            return false;
        ReadOnlySpan<char> rest = line.AsSpan(at + Key.Length).TrimStart();
        int digits = 0;
        while (digits < rest.Length && char.IsAsciiDigit(rest[digits]))
            digits++;
        return int.TryParse(rest[..digits], CultureInfo.InvariantCulture, out tokens);
    }
}
