namespace InferenceService.Engine.Sampling;

/// <summary>Drops tokens less likely than a fraction of the most likely one (arXiv:2407.01082).</summary>
internal static class MinP
{
    /// <summary>Keeps scores of at least max + ln(minP).</summary>
    public static void Apply(Candidates candidates, float minP)
    {
        if (minP <= 0)
            return;
        double threshold = candidates.MaxScore() + Math.Log(minP);
        float rounded = (float)threshold;
        candidates.KeepAbove(rounded < threshold ? MathF.BitIncrement(rounded) : rounded, int.MaxValue);
    }
}
