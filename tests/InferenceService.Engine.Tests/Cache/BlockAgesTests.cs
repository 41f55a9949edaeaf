using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Tests.Cache;

public sealed class BlockAgesTests
{
    [Fact]
    public void A_cached_block_is_timed_when_it_is_found_again_and_when_it_is_given_up()
    {
        var ages = new BlockAges(blocks: 1, frequency: 10);
        var pool = new BlockPool(1, ages: ages);
        ages.Now = 100;
        int block = pool.Take();
        pool.SetEntry(block, 0);
        ages.Now = 130;
        pool.Release(block);
        ages.Now = 150;
        pool.AddReference(block);
        pool.AddReference(block); // a second sharer finds it in use
        ages.Now = 160;
        pool.Release(block);
        pool.Release(block);
        ages.Now = 200;
        Assert.Equal(block, pool.Take());
        pool.ClearEntry(block); // as the cache does with a block that it took
        Assert.Equal((1, 2.0), Seen(ages.ReuseGap));
        Assert.Equal((1, 10.0), Seen(ages.Lifetime));
        Assert.Equal((1, 4.0), Seen(ages.IdleBeforeEviction));
    }

    [Fact]
    public void A_prefix_that_is_dropped_ends_its_blocks_and_one_that_held_none_is_not_counted()
    {
        var ages = new BlockAges(blocks: 2, frequency: 1);
        var pool = new BlockPool(2, ages: ages);
        ages.Now = 1;
        (int cached, int plain) = (pool.Take(), pool.Take());
        pool.SetEntry(cached, 0);
        pool.Release(cached);
        pool.Release(plain);
        ages.Now = 4;
        pool.ClearEntry(cached);
        pool.Take();
        pool.Take();
        Assert.Equal((1, 3.0), Seen(ages.Lifetime));
        Assert.Equal((1, 3.0), Seen(ages.IdleBeforeEviction));
        Assert.Equal((0, 0.0), Seen(ages.ReuseGap));
    }

    [Theory]
    [InlineData(1024, 1024)]
    [InlineData(1025, 513)]
    [InlineData(100_000, 1021)]
    public void A_large_pool_is_sampled_evenly(int blocks, int sampled)
    {
        var ages = new BlockAges(blocks, frequency: 1);
        for (int block = 0; block < blocks; block++)
            ages.Evicted(block);
        Assert.Equal(sampled, Seen(ages.Lifetime).Count);
        Assert.InRange(sampled, 1, BlockAges.MostSampled);
    }

    private static (int Count, double Sum) Seen(Histogram histogram) =>
        ((int)Enumerable.Range(0, histogram.Bounds.Length + 1).Sum(histogram.Count), histogram.Sum);
}
