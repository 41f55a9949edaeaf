using InferenceService.Engine.Execution;

namespace InferenceService.Engine.Tests.Execution;

public sealed class StepBucketsTests
{
    [Fact]
    public void Sizes_grow_with_the_step_and_end_at_the_largest()
    {
        var sizes = new List<int>();
        for (int size = 100; size > 0; size = StepBuckets.Below(size))
            sizes.Add(size);
        Assert.Equal([100, 96, 80, 64, 56, 48, 40, 32, 24, 16, 12, 8, 4, 2, 1], sizes);
    }

    [Fact]
    public void Every_step_gets_the_smallest_size_that_holds_it()
    {
        for (int most = 1; most <= 300; most++)
        {
            var sizes = new SortedSet<int>();
            for (int size = most; size > 0; size = StepBuckets.Below(size))
                sizes.Add(size);
            for (int rows = 1; rows <= most; rows++)
                Assert.Equal(sizes.First(size => size >= rows), StepBuckets.Of(rows, most));
        }
    }
}
