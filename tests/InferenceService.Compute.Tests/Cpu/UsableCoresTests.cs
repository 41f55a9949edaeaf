using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

public sealed class UsableCoresTests
{
    [Fact]
    public void There_is_at_least_one_and_no_more_than_the_runtime_sees() =>
        Assert.InRange(UsableCores.Count(), 1, Environment.ProcessorCount);

    [Theory]
    [InlineData("max 100000", double.PositiveInfinity)]
    [InlineData("150000 100000", 1.5)]
    [InlineData("50000 100000", 0.5)]
    [InlineData("", double.PositiveInfinity)]
    [InlineData("1 0", double.PositiveInfinity)]
    [InlineData("garbage", double.PositiveInfinity)]
    public void Quota_of_version_two_is_read(string text, double processors) => Assert.Equal(processors, UsableCores.QuotaV2(text));

    [Theory]
    [InlineData("-1", "100000", double.PositiveInfinity)]
    [InlineData("200000", "100000", 2)]
    [InlineData("", "", double.PositiveInfinity)]
    public void Quota_of_version_one_is_read(string quota, string period, double processors) =>
        Assert.Equal(processors, UsableCores.QuotaV1(quota, period));

    [Fact]
    public void Allowed_processors_are_read_from_the_status_of_the_process()
    {
        Assert.Equal([0, 1, 2, 3, 8], UsableCores.AllowedProcessors("Name:\tx\nCpus_allowed:\t10f\nCpus_allowed_list:\t0-3,8\nMems_allowed:\t1\n"));
        Assert.Empty(UsableCores.AllowedProcessors("Name:\tx\n"));
        Assert.Equal([5], UsableCores.ParseList(" 5, x, 7-y "));
    }
}
