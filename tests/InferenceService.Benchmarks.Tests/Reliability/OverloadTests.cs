using InferenceService.Benchmarks.Reliability;

namespace InferenceService.Benchmarks.Tests.Reliability;

/// <summary>The short form of <c>bench overload</c>: seconds on a busy machine judge no rate, but every end.</summary>
public sealed class OverloadTests
{
    [Fact]
    public async Task At_ten_times_the_load_every_request_ends_properly()
    {
        var options = new OverloadOptions { Rounds = 1, Settle = 1, Saturated = 3, Overloaded = 3, PromptTokens = 32, OutputTokens = 32, MaxSeqs = 4, Queue = 8, JudgesFigures = false };
        OverloadReport report = await new OverloadRun(options).RunAsync(CancellationToken.None);
        Assert.Equal([], report.Faults);
        Assert.True(report.Refused > 0);
        Assert.All(report.Rounds, round => Assert.True(round.Saturated.Tally.Complete > 0 && round.Overloaded.Tally.Complete > 0));
    }
}
