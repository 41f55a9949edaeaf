using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Sampling;

/// <summary>The filters on rows long enough for their short cuts, with ties, masks and spreads of every kind, against sorted lists.</summary>
public sealed class FilterTests
{
    private static float[] NewRow(Random random)
    {
        int length = 1 + random.Next(3000), distinct = random.Next(3) == 0 ? 1 + random.Next(40) : int.MaxValue;
        float spread = MathF.Pow(10, random.Next(-2, 3));
        return [.. Enumerable.Range(0, length).Select(_ =>
        {
            if (random.Next(50) == 0 && length > 1)
                return float.NegativeInfinity;
            float value = random.NextSingle() * random.NextSingle();
            return spread * (distinct == int.MaxValue ? value : MathF.Round(value * distinct));
        })];
    }

    private static int[] Sorted(float[] row) =>
        [.. Enumerable.Range(0, row.Length).Where(id => row[id] > float.NegativeInfinity).OrderByDescending(id => row[id]).ThenBy(id => id)];

    [Fact]
    public void Top_k_keeps_the_first_k_of_the_sorted_row() => Property.Check(300, seed =>
    {
        var random = new Random(seed);
        float[] row = NewRow(random);
        var candidates = new Candidates(row.Length);
        candidates.Fill(row, 1);
        int k = 1 + random.Next(random.Next(2) == 0 ? 60 : row.Length);
        new TopK(new PrefixCut(), row.Length).Apply(candidates, k);
        Assert.Equal(Sorted(row).Take(k).Order(), candidates.Ids.ToArray());
        Assert.Equal(candidates.Ids.ToArray().Select(id => row[id]), candidates.Scores.ToArray());
    });

    [Fact]
    public void Top_p_keeps_the_shortest_prefix_of_the_sorted_row_that_has_the_mass() => Property.Check(300, seed =>
    {
        var random = new Random(seed);
        float[] row = NewRow(random);
        if (Array.TrueForAll(row, float.IsNegativeInfinity))
            return;
        var candidates = new Candidates(row.Length);
        candidates.Fill(row, 1);
        float p = random.Next(2) == 0 ? random.NextSingle() : 1 - MathF.Pow(10, -1 - 4 * random.NextSingle()); // near 1 the nucleus reaches into the tail
        new TopP(new PrefixCut(), row.Length).Apply(candidates, p);
        int[] sorted = Sorted(row);
        double max = row[sorted[0]], total = sorted.Sum(id => Math.Exp(row[id] - max));
        int kept = candidates.Count;
        Assert.Equal(sorted.Take(kept).Order(), candidates.Ids.ToArray());
        // Masses are rounded to 2⁻⁴⁰ of the highest: the prefix may end one such step away from p.
        double slack = row.Length * Math.Pow(2, -39) + 1e-9 * total, mass = sorted.Take(kept).Sum(id => Math.Exp(row[id] - max));
        Assert.True(mass >= p * total - slack, $"{kept} tokens weigh {mass} of {total}, less than {p}");
        Assert.True(mass - Math.Exp(row[sorted[kept - 1]] - max) <= p * total + slack, $"{kept - 1} tokens would do for {p}");
    });

    [Fact]
    public void Min_p_and_masks_keep_what_is_high_enough_in_order() => Property.Check(200, seed =>
    {
        var random = new Random(seed);
        float[] row = NewRow(random);
        if (Array.TrueForAll(row, float.IsNegativeInfinity))
            return;
        var candidates = new Candidates(row.Length);
        candidates.Fill(row, 1);
        Assert.Equal(Sorted(row).Order(), candidates.Ids.ToArray());
        float minP = random.NextSingle();
        MinP.Apply(candidates, minP);
        double low = row.Max() + Math.Log(minP);
        Assert.Equal(Enumerable.Range(0, row.Length).Where(id => row[id] >= low), candidates.Ids.ToArray());
    });
}
