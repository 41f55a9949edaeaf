using InferenceService.Benchmarks.Comparison;
using InferenceService.Benchmarks.Load;

namespace InferenceService.Benchmarks.Tests.Comparison;

public sealed class ServedRoundTests
{
    private static RequestOutcome Outcome(double first, double total, int tokens) => new(200, true, false, first, total, [], null) { Tokens = tokens };

    [Fact]
    public void Rates_count_tokens_and_gaps_are_means_of_requests()
    {
        var round = new ServedRound([Outcome(0.5, 1.5, 11), Outcome(1, 4, 31)], 4);
        Assert.Equal(42 / 4.0, round.TokensPerSecond);
        Assert.Equal(0.5, round.First.Median);
        Assert.Equal(0.1, round.Gap.Median, 12);
    }

    [Fact]
    public void A_request_is_good_when_it_meets_both_bounds()
    {
        var round = new ServedRound([Outcome(0.5, 1.5, 11), Outcome(1, 4, 11), Outcome(3, 3, 1), Outcome(1, 1, 1)], 2);
        Assert.Equal(1, round.Goodput(firstBound: 2, gapBound: 0.2));
        Assert.Equal(2, round.Goodput(firstBound: 4, gapBound: 1));
    }
}
