using InferenceService.Benchmarks.Reliability;

namespace InferenceService.Benchmarks.Tests.Reliability;

/// <summary>The short forms of the soak and of the leak check: the same code as <c>bench soak</c>, on a server process of their own.</summary>
public sealed class SoakTests
{
    [Fact]
    public async Task A_soak_loses_nothing_leaks_nothing_and_says_what_each_request_says_alone()
    {
        var options = new SoakOptions { Requests = 240, Speed = 1000, Sample = 60 };
        SoakReport report = await new SoakRun(options).RunAsync(CancellationToken.None);
        Assert.Equal([], report.Faults);
        Assert.Equal(options.Requests, report.Tally.Total);
        Assert.Equal((60, 8), (report.Compared, report.Tally.Policies.Count));
        Assert.True(report.Tally.Count(SoakEnd.Left) > 0 && report.Tally.Count(SoakEnd.Corrected) > 0);
        Assert.True(report.Books!.Preemptions > 0, "The pool was not small enough to push anything out.");
    }

    [Fact]
    public async Task Clients_that_leave_at_random_leave_nothing_behind()
    {
        var options = new SoakOptions { Requests = 300, Speed = 1000, Sample = 0, Disconnects = 1, Invalid = 0 };
        SoakReport report = await new SoakRun(options).RunAsync(CancellationToken.None);
        Assert.Equal([], report.Faults);
        Assert.True(report.Books!.Abandoned > 0);
    }
}
