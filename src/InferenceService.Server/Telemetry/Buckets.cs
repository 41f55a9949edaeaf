namespace InferenceService.Server.Telemetry;

/// <summary>Bucket bounds that dashboards in circulation expect (the same as vLLM's).</summary>
internal static class Buckets
{
    public static double[] FirstToken { get; } =
        [.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560];

    public static double[] TokenGap { get; } = [.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];

    public static double[] Request { get; } = [.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

    public static double[] Choices { get; } = [1, 2, 5, 10, 20];

    public static double[] Grammar { get; } = [.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5];

    public static double[] Http { get; } = [.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300];

    /// <summary>1, 2, 5, 10, 20, 50 ... up to <paramref name="most"/>.</summary>
    public static double[] Tokens(int most)
    {
        var bounds = new List<double>();
        for (long decade = 1; decade <= most; decade *= 10)
        {
            foreach (int mantissa in (ReadOnlySpan<int>)[1, 2, 5])
            {
                if (mantissa * decade <= most)
                    bounds.Add(mantissa * decade);
            }
        }

        return [.. bounds];
    }
}
