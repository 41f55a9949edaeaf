using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache;

public sealed class KvCacheTests : IDisposable
{
    private const int BlockSize = 4;
    private readonly CpuBackend _backend = new(1);

    public void Dispose() => _backend.Dispose();

    private KvCache NewCache(int blocks, int layers = 2, KvGrouping grouping = KvGrouping.Layer, bool prefixes = true)
    {
        var layout = new KvLayout([.. Enumerable.Range(0, layers)], 1, grouping);
        return new KvCache(_backend, layout, new KvBlockFormat(DType.F32, BlockSize, 2, layout.LanesPerGroup), blocks, prefixes, "test");
    }

    private static UInt128[] Keys(KvCache cache, int blocks, int seed = 0)
    {
        UInt128[] keys = new UInt128[blocks];
        UInt128 parent = cache.PrefixRoot(null);
        for (int block = 0; block < blocks; block++)
            keys[block] = parent = PrefixKey.Next(parent, [seed, block]);
        return keys;
    }

    private static SequenceCache Fill(KvCache cache, int tokens, UInt128[]? keys = null)
    {
        var sequence = new SequenceCache(cache.Layout.Groups, 0, tracksPositions: false);
        cache.Grow(sequence, tokens);
        sequence.Advance(0, tokens);
        cache.OfferPrefix(sequence, keys);
        return sequence;
    }

    [Fact]
    public void Growth_takes_blocks_for_all_groups_when_a_border_is_crossed()
    {
        KvCache cache = NewCache(20);
        SequenceCache sequence = Fill(cache, 4);
        Assert.Equal(2, cache.Blocks.Used);
        Assert.Equal(2, cache.BlocksToGrow(sequence, 1));
        Assert.Equal(4, cache.BlocksToGrow(sequence, 5));
        cache.Grow(sequence, 1);
        sequence.Advance(4, 1);
        Assert.Equal(0, cache.BlocksToGrow(sequence, 3));
        cache.AssertConsistent([sequence]);
        cache.Release(sequence);
        Assert.Equal(0, cache.Blocks.Used);
    }

    [Fact]
    public void A_prefix_is_shared_by_all_groups_together()
    {
        KvCache cache = NewCache(20);
        UInt128[] keys = Keys(cache, 3);
        SequenceCache first = Fill(cache, 11, keys);
        var second = new SequenceCache(2, 0, false);
        Assert.Equal(8, cache.AttachPrefix(second, keys)); // the third block is not full
        for (int group = 0; group < 2; group++)
            Assert.Equal(first.Tables[group].Blocks[..2], second.Tables[group].Blocks);
        cache.AssertConsistent([first, second]);
        cache.Release(first);
        cache.Release(second);
        Assert.Equal(4, cache.Blocks.Cached);
        var third = new SequenceCache(2, 0, false);
        Assert.Equal(8, cache.AttachPrefix(third, keys));
        Assert.Equal(0, cache.Blocks.Cached);
        cache.Release(third);
    }

    [Fact]
    public void Another_salt_or_other_tokens_share_nothing()
    {
        KvCache cache = NewCache(20);
        Fill(cache, 8, Keys(cache, 2));
        Assert.Equal(0, cache.AttachPrefix(new SequenceCache(2, 0, false), Keys(cache, 2, seed: 1)));
        Assert.NotEqual(cache.PrefixRoot(null), cache.PrefixRoot("tenant"));
        Assert.Equal(cache.PrefixRoot("tenant"), cache.PrefixRoot("tenant"));
    }

    [Fact]
    public void The_leaves_of_an_unused_prefix_are_overwritten_first()
    {
        KvCache cache = NewCache(8);
        UInt128[] keys = Keys(cache, 4);
        cache.Release(Fill(cache, 16, keys));
        Assert.Equal(8, cache.Blocks.Cached);
        SequenceCache other = Fill(cache, 4); // one block a group
        Assert.Equal(6, cache.Blocks.Cached);
        var again = new SequenceCache(2, 0, false);
        Assert.Equal(12, cache.AttachPrefix(again, keys));
        cache.AssertConsistent([other, again]);
    }

    [Fact]
    public void Losing_the_block_of_one_group_forgets_the_entry_and_frees_the_others()
    {
        KvCache cache = NewCache(6);
        UInt128[] keys = Keys(cache, 1);
        cache.Release(Fill(cache, 4, keys));
        Assert.Equal(2, cache.Blocks.Cached);
        for (int i = 0; i < 5; i++)
            cache.Take(); // four empty ones and one of the entry
        Assert.Equal((1, 0), (cache.Blocks.Free, cache.Blocks.Cached));
        Assert.Equal(0, cache.AttachPrefix(new SequenceCache(2, 0, false), keys));
    }

    [Fact]
    public void A_fork_shares_everything_and_the_first_writer_copies_the_partial_block()
    {
        KvCache cache = NewCache(20, layers: 1);
        SequenceCache parent = Fill(cache, 6), child = new(1, 0, false);
        WriteSlot(cache, parent, 4, 40);
        WriteSlot(cache, parent, 5, 50);
        cache.Fork(parent, child);
        Assert.Equal(2, cache.Blocks.Used);
        Assert.Equal(1, cache.BlocksToGrow(parent, 1));
        cache.Grow(parent, 1);
        Assert.Equal(3, cache.Blocks.Used);
        Assert.Equal(0, cache.BlocksToGrow(child, 1)); // the last holder writes in place
        Assert.Equal(parent.Tables[0].Blocks[0], child.Tables[0].Blocks[0]);
        Assert.NotEqual(parent.Tables[0].Blocks[1], child.Tables[0].Blocks[1]);
        Assert.Equal((40, 50), (ReadSlot(cache, parent, 4), ReadSlot(cache, parent, 5)));
        cache.AssertConsistent([parent, child]);
    }

    [Fact]
    public void Reset_drops_what_nobody_owns_and_nothing_else()
    {
        KvCache cache = NewCache(20);
        UInt128[] owned = Keys(cache, 1), unowned = Keys(cache, 1, seed: 1);
        Fill(cache, 4, owned);
        cache.Release(Fill(cache, 4, unowned));
        cache.ResetPrefixes();
        Assert.Equal(0, cache.Blocks.Cached);
        Assert.Equal(0, cache.AttachPrefix(new SequenceCache(2, 0, false), unowned));
        Assert.Equal(4, cache.AttachPrefix(new SequenceCache(2, 0, false), owned));
    }

    [Fact]
    public void Storms_of_growth_forks_prefixes_and_releases_keep_every_block_accounted_for() => Property.Check(50, seed =>
    {
        var random = new Random(seed);
        KvCache cache = NewCache(40, layers: 1 + random.Next(3), random.Next(2) == 0 ? KvGrouping.Layer : KvGrouping.Model);
        List<(SequenceCache Cache, UInt128[] Keys, int Length)> alive = [];
        for (int step = 0; step < 200; step++)
        {
            int pick = alive.Count == 0 ? -1 : random.Next(alive.Count);
            switch (random.Next(4))
            {
                case 0:
                    UInt128[] keys = Keys(cache, 12, random.Next(2));
                    var fresh = new SequenceCache(cache.Layout.Groups, random.Next(3), random.Next(2) == 0);
                    alive.Add((fresh, keys, cache.AttachPrefix(fresh, keys.AsSpan(0, random.Next(6)))));
                    break;
                case 1 when pick >= 0:
                    (SequenceCache grown, UInt128[] its, int length) = alive[pick];
                    int tokens = Math.Min(1 + random.Next(9), 48 - length);
                    if (tokens == 0 || cache.BlocksToGrow(grown, tokens) > cache.Blocks.Free)
                        break;
                    cache.Grow(grown, tokens);
                    AssertWritable(cache, grown, tokens);
                    grown.Advance(length, tokens);
                    cache.OfferPrefix(grown, its);
                    alive[pick] = (grown, its, length + tokens);
                    break;
                case 2 when pick >= 0:
                    var child = new SequenceCache(cache.Layout.Groups, 0, false);
                    cache.Fork(alive[pick].Cache, child);
                    alive.Add((child, alive[pick].Keys, alive[pick].Length));
                    break;
                case 3 when pick >= 0:
                    cache.Release(alive[pick].Cache);
                    alive.RemoveAt(pick);
                    break;
            }

            cache.AssertConsistent(alive.Select(sequence => sequence.Cache));
        }

        foreach ((SequenceCache sequence, _, _) in alive)
            cache.Release(sequence);
        Assert.Equal(0, cache.Blocks.Used);
    });

    private static void AssertWritable(KvCache cache, SequenceCache sequence, int tokens)
    {
        foreach (BlockTable table in sequence.Tables)
            for (int slot = table.Length; slot < table.Length + tokens; slot++)
                Assert.True(cache.Blocks.IsWritable(table.Blocks[slot / BlockSize]), "A block to be written is shared.");
    }

    private void WriteSlot(KvCache cache, SequenceCache sequence, int slot, float value) => _backend.Upload(
        BitConverter.GetBytes(value), SlotTensor(cache, sequence, slot));

    private float ReadSlot(KvCache cache, SequenceCache sequence, int slot)
    {
        byte[] bytes = new byte[4];
        _backend.Download(SlotTensor(cache, sequence, slot), bytes);
        return BitConverter.ToSingle(bytes);
    }

    private static Tensor SlotTensor(KvCache cache, SequenceCache sequence, int slot) =>
        cache.Memory.RowRange(sequence.Tables[0].Blocks[slot / BlockSize], 1).ColumnRange(slot % BlockSize * cache.Format.HeadDim * 4, 4);
}
