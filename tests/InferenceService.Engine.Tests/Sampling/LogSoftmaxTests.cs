using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Sampling;

public sealed class LogSoftmaxTests
{
    [Theory]
    [InlineData(5)]
    [InlineData(1003)]
    [InlineData(50_000)]
    public void The_normaliser_agrees_with_plain_double_precision(int vocabulary)
    {
        var random = new Random(vocabulary);
        float[] logits = [.. Enumerable.Range(0, vocabulary).Select(_ => 40 * random.NextSingle() - 30)];
        double max = logits.Max();
        Assert.Equal(max + Math.Log(logits.Sum(value => Math.Exp(value - max))), LogSoftmax.LogSumExp(logits), 1e-5);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(20)]
    [InlineData(500)]
    [InlineData(2000)]
    public void The_most_likely_come_first_and_ties_by_lower_id(int top)
    {
        var random = new Random(top);
        float[] logits = [.. Enumerable.Range(0, 1000).Select(_ => (float)random.Next(40))];
        TokenLogprobs report = LogSoftmax.Report(logits, 17, top);
        Assert.Equal(Enumerable.Range(0, 1000).OrderByDescending(id => logits[id]).ThenBy(id => id).Take(top), report.TopIds);
        Assert.Equal(report.TopIds.Length, report.TopLogprobs.Length);
        double normaliser = LogSoftmax.LogSumExp(logits);
        Assert.Equal(logits[17] - normaliser, report.Logprob, 1e-5);
        for (int i = 0; i < report.TopIds.Length; i++)
            Assert.Equal(logits[report.TopIds[i]] - normaliser, report.TopLogprobs[i], 1e-5);
    }

    [Fact]
    public void An_impossible_token_is_reported_as_minus_9999()
    {
        TokenLogprobs report = LogSoftmax.Report([0, float.NegativeInfinity, 0], 1, 3);
        Assert.Equal(-9999f, report.Logprob);
        Assert.Equal([0, 2, 1], report.TopIds);
        Assert.Equal(-9999f, report.TopLogprobs[2]);
        Assert.Equal(Math.Log(0.5), report.TopLogprobs[0], 1e-6);
    }
}
