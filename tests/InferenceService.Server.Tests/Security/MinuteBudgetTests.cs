using InferenceService.Server.Security;

namespace InferenceService.Server.Tests.Security;

public sealed class MinuteBudgetTests
{
    private readonly ManualTime _time = new();

    [Fact]
    public void A_minutes_worth_may_be_used_at_once_and_comes_back_steadily()
    {
        var budget = new MinuteBudget(60, _time);
        for (int i = 0; i < 60; i++)
            Assert.True(budget.TryTake(1, out _, out _));
        Assert.False(budget.TryTake(1, out int taken, out TimeSpan wait));
        Assert.Equal((0, TimeSpan.FromSeconds(1)), (taken, wait));
        Assert.Equal((0, TimeSpan.FromMinutes(1)), budget.State);
        _time.Advance(TimeSpan.FromSeconds(0.99));
        Assert.False(budget.TryTake(1, out _, out _));
        _time.Advance(TimeSpan.FromSeconds(0.01));
        Assert.True(budget.TryTake(1, out _, out _));
        _time.Advance(TimeSpan.FromSeconds(20));
        Assert.Equal((20, TimeSpan.FromSeconds(40)), budget.State);
        _time.Advance(TimeSpan.FromHours(1));
        Assert.Equal((60, TimeSpan.Zero), budget.State);
    }

    [Fact]
    public void What_was_asked_for_is_corrected_by_what_was_used()
    {
        var budget = new MinuteBudget(100, _time);
        Assert.True(budget.TryTake(90, out int taken, out _));
        budget.Correct(taken - 20);
        Assert.Equal(80, budget.State.Left);
        Assert.True(budget.TryTake(80, out taken, out _));
        budget.Correct(taken - 130);
        // More was used than there was: nothing is left until that has come back too.
        Assert.Equal((0, TimeSpan.FromSeconds(90)), budget.State);
        Assert.False(budget.TryTake(10, out _, out TimeSpan wait));
        Assert.Equal(TimeSpan.FromSeconds(36), wait);
        budget.Correct(1000);
        Assert.Equal(100, budget.State.Left);
    }

    [Fact]
    public void Who_asks_for_more_than_a_minute_gives_needs_all_of_it()
    {
        var budget = new MinuteBudget(100, _time);
        Assert.True(budget.TryTake(long.MaxValue, out int taken, out _));
        Assert.Equal(100, taken);
        budget.Correct(1);
        Assert.False(budget.TryTake(500, out _, out TimeSpan wait));
        Assert.Equal(TimeSpan.FromSeconds(59.4), wait);
    }

    [Theory]
    [InlineData(0, "0ms")]
    [InlineData(0.0111, "12ms")]
    [InlineData(1, "1s")]
    [InlineData(6.2, "7s")]
    [InlineData(360, "6m0s")]
    [InlineData(71.5, "1m12s")]
    public void Durations_are_written_as_clients_expect_them(double seconds, string text) =>
        Assert.Equal(text, RateLimitHeaders.Duration(TimeSpan.FromSeconds(seconds)));
}
