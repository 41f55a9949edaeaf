using InferenceService.Benchmarks.Comparison;

namespace InferenceService.Benchmarks.Tests.Comparison;

public sealed class PairedRatioTests
{
    [Fact]
    public void The_median_is_that_of_the_rounds_ratios_not_of_the_sides()
    {
        var ratio = new PairedRatio();
        ratio.Add(10, 1);
        ratio.Add(20, 10);
        ratio.Add(30, 20);
        Assert.Equal(2, ratio.Median);
        Assert.Equal(["20", "10", "2.00×", "1.50–10.00"], ratio.Cells(value => $"{value:F0}"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(double.NaN)]
    public void A_side_that_measured_nothing_gives_no_ratio(double theirs) =>
        Assert.Throws<InvalidOperationException>(() => new PairedRatio().Add(1, theirs));
}
