using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Sampling;

public sealed class PrefixCutTests
{
    [Fact]
    public void The_cut_is_where_a_sorted_list_reaches_the_target() => Property.Check(300, seed =>
    {
        var random = new Random(seed);
        int count = 1 + random.Next(100), distinct = 1 + random.Next(50);
        float[] values = [.. Enumerable.Range(0, distinct).Select(_ => (random.NextSingle() - 0.5f) * MathF.Pow(10, random.Next(-3, 6)) + 0f)];
        ulong[] weightOf = [.. Enumerable.Range(0, distinct).Select(_ => (ulong)random.Next(1, 1000))];
        int[] picks = [.. Enumerable.Range(0, count).Select(_ => random.Next(distinct))];
        // Equal scores have equal weights.
        picks = [.. picks.Select(pick => Array.IndexOf(values, values[pick]))];
        float[] scores = [.. picks.Select(pick => values[pick])];
        ulong[] weights = random.Next(2) == 0 ? [] : [.. picks.Select(pick => weightOf[pick])];
        ulong Weight(int i) => weights.Length == 0 ? 1 : weights[i];
        ulong total = 0;
        for (int i = 0; i < count; i++)
            total += Weight(i);
        ulong target = 1 + (ulong)random.NextInt64((long)total);

        var expected = new List<int>();
        ulong sum = 0;
        foreach (int i in Enumerable.Range(0, count).OrderByDescending(i => scores[i]).ThenBy(i => i).TakeWhile(_ => sum < target))
        {
            expected.Add(i);
            sum += Weight(i);
        }

        (float threshold, int ties) = new PrefixCut().Find(scores, weights, target);
        IEnumerable<int> kept = Enumerable.Range(0, count).Where(i => scores[i] > threshold)
            .Concat(Enumerable.Range(0, count).Where(i => scores[i] == threshold).Take(ties));
        Assert.Equal(expected.Order(), kept.Order());
    });
}
