using System.Runtime.CompilerServices;

namespace InferenceService.Server.Tests;

/// <summary>Waits for what another thread must bring about.</summary>
internal static class Eventually
{
    private static readonly TimeSpan Bound = TimeSpan.FromMinutes(5);

    /// <summary>Returns once the condition holds; fails, naming it, when it does not within five minutes.</summary>
    public static async Task TrueAsync(Func<bool> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        long start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            if (TimeProvider.System.GetElapsedTime(start) > Bound)
                Assert.Fail($"Never happened: {what}");
            await timer.WaitForNextTickAsync();
        }
    }
}
