using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Telemetry;

public sealed class BucketsTests
{
    [Theory]
    [InlineData(1, "1")]
    [InlineData(7, "1 2 5")]
    [InlineData(1000, "1 2 5 10 20 50 100 200 500 1000")]
    public void Token_buckets_run_through_the_decades(int most, string bounds) =>
        Assert.Equal(bounds, string.Join(' ', Buckets.Tokens(most)));
}
