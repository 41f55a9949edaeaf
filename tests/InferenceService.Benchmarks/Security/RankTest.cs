namespace InferenceService.Benchmarks.Security;

/// <summary>Mann–Whitney's test of whether two samples come from one distribution, by ranks: outliers count no more than any other value.</summary>
/// <remarks>Normal approximation with corrections for continuity and ties, for samples of eight and more (Mann, Whitney, Annals of Mathematical Statistics 1947).</remarks>
/// <param name="P">Chance of so large a difference, either way, if they do.</param>
/// <param name="Separation">Chance that a value of the first is larger than one of the second: 0.5 = nothing tells them apart.</param>
internal readonly record struct RankTest(double P, double Separation)
{
    /// <summary>Compares two samples.</summary>
    public static RankTest Of(IReadOnlyCollection<double> first, IReadOnlyCollection<double> second)
    {
        (double Value, bool IsFirst)[] all = [.. first.Select(value => (value, true)).Concat(second.Select(value => (value, false))).OrderBy(entry => entry.Item1)];
        double ranks = 0, ties = 0;
        for (int start = 0; start < all.Length;)
        {
            int end = start;
            while (end < all.Length && all[end].Value == all[start].Value)
                end++;
            double rank = (start + 1 + end) / 2.0, equal = end - start;
            for (int i = start; i < end; i++)
                ranks += all[i].IsFirst ? rank : 0;
            ties += equal * equal * equal - equal;
            start = end;
        }

        double n = first.Count, m = second.Count, total = n + m;
        double larger = ranks - n * (n + 1) / 2;
        double deviation = Math.Sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))));
        double z = deviation == 0 ? 0 : Math.Max(0, Math.Abs(larger - n * m / 2) - 0.5) / deviation;
        return new RankTest(2 * UpperTail(z), larger / (n * m));
    }

    // Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17; error below 7.5e-8.
    private static double UpperTail(double z)
    {
        double t = 1 / (1 + 0.2316419 * z);
        double polynomial = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
        return Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI) * polynomial;
    }
}
