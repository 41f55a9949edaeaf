using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Tests.Cache;

public sealed class BlockPoolTests
{
    [Fact]
    public void Freed_blocks_are_reused()
    {
        var pool = new BlockPool(2);
        int first = pool.Take(), second = pool.Take();
        Assert.NotEqual(first, second);
        Assert.Throws<InvalidOperationException>(() => pool.Take());
        pool.Release(first);
        Assert.Equal(first, pool.Take());
    }

    [Fact]
    public void A_block_returns_with_its_last_reference()
    {
        var pool = new BlockPool(1);
        int block = pool.Take();
        pool.AddReference(block);
        pool.Release(block);
        Assert.Equal(0, pool.Free);
        pool.Release(block);
        Assert.Equal(1, pool.Free);
        Assert.Throws<InvalidOperationException>(() => pool.Release(block));
    }

    [Fact]
    public void Empty_blocks_go_before_cached_ones_and_the_least_recently_used_prefix_first()
    {
        var pool = new BlockPool(4);
        int[] blocks = [pool.Take(), pool.Take(), pool.Take(), pool.Take()];
        pool.SetEntry(blocks[0], 10);
        pool.SetEntry(blocks[2], 12);
        pool.SetEntry(blocks[3], 13);
        foreach (int block in (int[])[blocks[2], blocks[0], blocks[1], blocks[3]])
            pool.Release(block);
        Assert.Equal(3, pool.Cached);
        Assert.Equal([blocks[1], blocks[2], blocks[0], blocks[3]], (int[])[pool.Take(), pool.Take(), pool.Take(), pool.Take()]);
    }

    [Fact]
    public void A_revived_block_leaves_the_list()
    {
        var pool = new BlockPool(2);
        int block = pool.Take();
        pool.SetEntry(block, 3);
        pool.Release(block);
        pool.AddReference(block);
        Assert.Equal((1, 0), (pool.Free, pool.Cached));
        Assert.NotEqual(block, pool.Take());
        Assert.False(pool.IsWritable(block));
    }

    [Fact]
    public void A_block_whose_prefix_is_forgotten_is_the_next_to_be_taken()
    {
        var pool = new BlockPool(3);
        int block = pool.Take();
        pool.SetEntry(block, 3);
        pool.Release(block);
        pool.ClearEntry(block);
        Assert.Equal(0, pool.Cached);
        Assert.Equal(block, pool.Take());
    }

    [Fact]
    public void Free_and_used_add_up_and_nobody_owns_a_block_twice() => Property.Check(200, seed =>
    {
        var random = new Random(seed);
        var pool = new BlockPool(1 + random.Next(20));
        int[] references = new int[pool.Total];
        int entries = 0;
        for (int step = 0; step < 300; step++)
        {
            int block = random.Next(pool.Total);
            switch (random.Next(5))
            {
                case 0 when pool.Free > 0:
                    block = pool.Take();
                    Assert.Equal(0, references[block]);
                    references[block] = 1;
                    pool.ClearEntry(block);
                    break;
                case 1 when references[block] > 0 || pool.Entry(block) >= 0:
                    pool.AddReference(block);
                    references[block]++;
                    break;
                case 2 when references[block] > 0:
                    pool.Release(block);
                    references[block]--;
                    break;
                case 3 when references[block] > 0:
                    pool.SetEntry(block, entries++);
                    break;
                case 4:
                    pool.ClearEntry(block);
                    break;
            }

            pool.AssertConsistent(references);
            Assert.Equal(references.Count(count => count > 0), pool.Used);
            Assert.Equal(references.Count(count => count == 0), pool.Free);
        }
    });

    [Fact]
    public void A_broken_count_is_noticed()
    {
        var pool = new BlockPool(2);
        pool.Take();
        Assert.Throws<InvalidOperationException>(() => pool.AssertConsistent([0, 0]));
        pool.AssertConsistent([1, 0]);
    }
}
