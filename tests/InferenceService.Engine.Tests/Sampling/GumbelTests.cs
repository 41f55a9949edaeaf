using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Sampling;

public sealed class GumbelTests
{
    [Fact]
    public void The_draw_is_the_argmax_of_score_and_noise_over_any_set_of_ids() => Property.Check(200, seed =>
    {
        var random = new Random(seed);
        int[] ids = [.. Enumerable.Range(0, 3000).Where(_ => random.Next(4) == 0)];
        float[] scores = [.. ids.Select(_ => random.NextSingle() * random.Next(1, 30))];
        ulong key = (ulong)random.NextInt64();
        int position = random.Next(10_000);
        double Sum(int i) => scores[i] + Gumbel.Noise(Philox.Word(key, position, ids[i]));
        int expected = Enumerable.Range(0, ids.Length).OrderByDescending(Sum).ThenBy(i => ids[i]).First();
        Assert.Equal(expected, Gumbel.Draw(ids, scores, key, position));
        float[] row = new float[ids[^1] + 1];
        Array.Fill(row, float.NegativeInfinity);
        for (int i = 0; i < ids.Length; i++)
            row[ids[i]] = scores[i];
        Assert.Equal(ids[expected], Gumbel.DrawRow(row, key, position));
    });

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(100_000)]
    public void Scores_of_any_size_lose_no_candidate_to_rounding(float size) => Property.Check(100, seed =>
    {
        var random = new Random(seed);
        float[] row = [.. Enumerable.Range(0, 2000).Select(_ => size + random.NextSingle() * 3)];
        ulong key = (ulong)seed;
        int expected = Enumerable.Range(0, row.Length).OrderByDescending(id => row[id] + Gumbel.Noise(Philox.Word(key, 5, id))).ThenBy(id => id).First();
        Assert.Equal(expected, Gumbel.DrawRow(row, key, 5));
    });

    [Fact]
    public void The_draw_of_a_token_does_not_depend_on_which_others_were_filtered()
    {
        int[] ids = [.. Enumerable.Range(0, 500)];
        float[] scores = [.. ids.Select(id => MathF.Cos(id))];
        for (ulong key = 0; key < 100; key++)
        {
            int winner = Gumbel.Draw(ids, scores, key, 3);
            int[] fewer = [.. ids.Where(id => id == winner || id % 3 == 0)];
            float[] theirs = [.. fewer.Select(id => scores[id])];
            Assert.Equal(winner, fewer[Gumbel.Draw(fewer, theirs, key, 3)]);
        }
    }
}
