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
    public void Children_come_from_split_blocks_first_and_the_last_one_gives_the_block_back()
    {
        var pool = new BlockPool(3, childrenPerBlock: 2);
        Assert.Throws<InvalidOperationException>(() => pool.TakeChild());
        int parent = pool.Take();
        pool.Split(parent);
        int first = pool.TakeChild(), second = pool.TakeChild();
        Assert.Equal((parent, parent, false), (first / 2, second / 2, pool.HasSplit));
        int other = pool.Take();
        pool.Split(other);
        pool.TakeChild();
        pool.Release(~first);
        Assert.Equal(first, pool.TakeChild()); // the block that was split last and has room
        pool.AddReference(~second);
        pool.Release(~second);
        pool.Release(~first);
        Assert.Equal(1, pool.Free);
        pool.Release(~second);
        Assert.Equal((2, 1), (pool.Free, pool.Children));
        Assert.Throws<InvalidOperationException>(() => pool.Release(~second));
        Assert.False(pool.IsWritable(~(other * 2)));
    }

    [Fact]
    public void Blocks_and_children_add_up() => Property.Check(100, seed =>
    {
        var random = new Random(seed);
        int each = 1 + random.Next(7);
        var pool = new BlockPool(1 + random.Next(12), each);
        int[] blocks = new int[pool.Total], children = new int[pool.Total * each];
        for (int step = 0; step < 300; step++)
        {
            int child = random.Next(children.Length), block = random.Next(blocks.Length);
            switch (random.Next(5))
            {
                case 0 when pool.HasSplit || pool.Free > 0:
                    if (!pool.HasSplit)
                        pool.Split(pool.Take());
                    child = pool.TakeChild();
                    Assert.Equal(0, children[child]);
                    children[child] = 1;
                    break;
                case 1 when children[child] > 0:
                    pool.AddReference(~child);
                    children[child]++;
                    break;
                case 2 or 3 when children[child] > 0:
                    pool.Release(~child);
                    children[child]--;
                    break;
                case 4 when pool.Free > 0:
                    blocks[pool.Take()]++;
                    break;
                case 4 when blocks[block] > 0:
                    pool.Release(block);
                    blocks[block]--;
                    break;
            }

            pool.AssertConsistent(blocks, children);
            int split = Enumerable.Range(0, pool.Total).Count(b => children.AsSpan(b * each, each).ContainsAnyExcept(0));
            Assert.Equal(split + blocks.Count(count => count > 0), pool.Used);
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
