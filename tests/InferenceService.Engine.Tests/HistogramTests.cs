namespace InferenceService.Engine.Tests;

public sealed class HistogramTests
{
    [Fact]
    public void A_bound_belongs_to_its_bucket()
    {
        var histogram = new Histogram([1, 2, 5]);
        foreach (double value in (double[])[0.5, 1, 1.0001, 2, 5, 5.1, double.PositiveInfinity])
            histogram.Observe(value);
        Assert.Equal([2, 2, 1, 2], Enumerable.Range(0, 4).Select(histogram.Count));
    }

    [Fact]
    public void What_is_not_a_number_is_dropped()
    {
        var histogram = new Histogram([1]);
        histogram.Observe(double.NaN);
        Assert.Equal([0, 0], Enumerable.Range(0, 2).Select(histogram.Count));
        Assert.Equal(0, histogram.Sum);
    }

    [Fact]
    public void Threads_lose_no_observation()
    {
        var histogram = new Histogram([1]);
        Parallel.For(0, 8, _ =>
        {
            for (int i = 0; i < 10_000; i++)
                histogram.Observe(0.5);
        });
        Assert.Equal(80_000, histogram.Count(0));
        Assert.Equal(40_000, histogram.Sum);
    }
}
