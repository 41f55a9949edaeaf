using System.Globalization;

namespace InferenceService.Server.Security;

/// <summary>The headers by which OpenAI's clients know how much of a limit is left.</summary>
internal static class RateLimitHeaders
{
    /// <summary>Writes limit, remainder and time until all is there again; nothing without a limit.</summary>
    /// <param name="of"><c>requests</c> or <c>tokens</c>.</param>
    public static void Write(IHeaderDictionary headers, string of, MinuteBudget? budget)
    {
        if (budget is null)
            return;
        (int left, TimeSpan untilFull) = budget.State;
        headers[$"x-ratelimit-limit-{of}"] = budget.PerMinute.ToString(CultureInfo.InvariantCulture);
        headers[$"x-ratelimit-remaining-{of}"] = left.ToString(CultureInfo.InvariantCulture);
        headers[$"x-ratelimit-reset-{of}"] = Duration(untilFull);
    }

    /// <summary>Rounded up: <c>12ms</c>, <c>7s</c>, <c>6m0s</c>.</summary>
    public static string Duration(TimeSpan time)
    {
        if (time < TimeSpan.FromSeconds(1))
            return string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(time.TotalMilliseconds):0}ms");
        long seconds = (long)Math.Ceiling(time.TotalSeconds);
        return seconds < 60 ? string.Create(CultureInfo.InvariantCulture, $"{seconds}s") : string.Create(CultureInfo.InvariantCulture, $"{seconds / 60}m{seconds % 60}s");
    }
}
