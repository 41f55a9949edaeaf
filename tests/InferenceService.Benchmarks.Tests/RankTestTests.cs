using InferenceService.Benchmarks.Security;

namespace InferenceService.Benchmarks.Tests;

public sealed class RankTestTests
{
    [Fact]
    public void Samples_that_do_not_overlap_are_told_apart()
    {
        // By hand: U = 0 of 25, mean 12.5, deviation 4.787, z = 12 / 4.787 = 2.507.
        var test = RankTest.Of([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]);
        Assert.Equal(0, test.Separation);
        Assert.Equal(0.012186, test.P, 5);
        Assert.Equal(1, RankTest.Of([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]).Separation);
    }

    [Fact]
    public void Equal_samples_are_not()
    {
        var test = RankTest.Of([1, 2, 2, 3, 9], [1, 2, 2, 3, 9]);
        Assert.Equal(0.5, test.Separation);
        Assert.Equal(1, test.P, 5);
        Assert.Equal(1, RankTest.Of([4, 4, 4], [4, 4]).P, 5);
    }

    [Fact]
    public void One_wild_value_changes_little()
    {
        double[] quiet = [.. Enumerable.Range(0, 40).Select(i => (i * 7 % 40) + 0.5)], wild = [.. Enumerable.Range(0, 39).Select(i => (double)(i * 11 % 39)), 1e9];
        Assert.True(RankTest.Of(quiet, wild).P > 0.5);
    }
}
