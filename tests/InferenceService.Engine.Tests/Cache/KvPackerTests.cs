using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache;

public sealed class KvPackerTests : IDisposable
{
    private const int BlockSize = 32;
    private const int HeadDim = 32;
    private static readonly KvPacking Packing = new(4);
    private readonly CpuBackend _backend = new(1);

    public void Dispose() => _backend.Dispose();

    private KvCache NewCache(int blocks, KvGrouping grouping = KvGrouping.Layer, DType type = DType.F32)
    {
        var layout = new KvLayout([0, 1], 1, grouping);
        return new KvCache(_backend, layout, new KvBlockFormat(type, BlockSize, HeadDim, layout.LanesPerGroup, Packing.Bits), blocks, true, "test");
    }

    /// <summary>A sequence of tokens whose K and V are random numbers of their own, the same for the same seed.</summary>
    private SequenceCache Fill(KvCache cache, int tokens, int seed = 1)
    {
        var sequence = new SequenceCache(cache.Layout.Groups, 0, tracksPositions: true);
        Extend(cache, sequence, tokens, seed);
        return sequence;
    }

    private void Extend(KvCache cache, SequenceCache sequence, int tokens, int seed = 1)
    {
        cache.Grow(sequence, tokens);
        KvBlockFormat format = cache.Format;
        int rowBytes = HeadDim * format.Type.Size();
        for (int group = 0; group < cache.Layout.Groups; group++)
        {
            BlockTable table = sequence.Tables[group];
            for (int slot = table.Length; slot < table.Length + tokens; slot++)
            {
                for (int half = 0; half < 2 * format.Lanes; half++)
                {
                    var random = new Random(HashCode.Combine(seed, slot, group, half));
                    byte[] row = new byte[rowBytes];
                    for (int c = 0; c < HeadDim; c++)
                        BitConverter.TryWriteBytes(row.AsSpan(4 * c), random.NextSingle());
                    _backend.Upload(row, cache.Memory.RowRange(table.Blocks[slot / BlockSize], 1)
                        .ColumnRange(half * format.HalfLaneBytes + slot % BlockSize * rowBytes, rowBytes));
                }
            }
        }

        sequence.Advance(sequence.Tables[0].Length, tokens);
    }

    private byte[] Content(KvCache cache, int entry)
    {
        Tensor memory = cache.MemoryOf(entry);
        byte[] bytes = new byte[memory.ByteLength];
        _backend.Download(memory, bytes);
        return bytes;
    }

    [Fact]
    public void Every_block_before_the_residual_is_packed_and_none_behind()
    {
        for (int tokens = 1; tokens < 200; tokens += 9)
        {
            KvCache cache = NewCache(40);
            SequenceCache sequence = Fill(cache, tokens);
            new KvPacker(cache).Pack(sequence, Packing, selector: null);
            int packed = Math.Max(0, tokens - 32) / 32;
            foreach (BlockTable table in sequence.Tables)
                Assert.Equal(Enumerable.Range(0, table.Count).Select(index => index < packed), table.Blocks.ToArray().Select(entry => entry < 0));
            Assert.Equal(packed > 0, sequence.IsPacked);
            cache.AssertConsistent([sequence]);
            cache.Release(sequence);
            cache.AssertConsistent([]);
            Assert.Equal((0, 0), (cache.Blocks.Used, cache.Blocks.Children));
        }
    }

    [Fact]
    public void Measured_bytes_are_those_of_the_paper_within_a_block_a_lane_group()
    {
        KvCache cache = NewCache(80, KvGrouping.Head, DType.F32);
        SequenceCache sequence = Fill(cache, 640 + 17);
        new KvPacker(cache).Pack(sequence, Packing, selector: null);
        // 2·d·(n − tail)·(b + 32/G)/8 + 2·d·tail·s bytes a lane, of which a group here has one.
        const int packed = 608, tail = 657 - packed;
        double formula = 2.0 * HeadDim * packed * (4 + 32 / 32) / 8 + 2.0 * HeadDim * tail * 4;
        double measured = cache.Blocks.Used * (double)cache.Format.BlockBytes / cache.Layout.Groups;
        Assert.InRange(measured, formula, formula + cache.Format.BlockBytes);
        cache.Release(sequence);
    }

    [Fact]
    public void Packing_all_at_once_and_token_by_token_gives_the_same_codes()
    {
        KvCache cache = NewCache(40);
        var packer = new KvPacker(cache);
        SequenceCache whole = Fill(cache, 150), streamed = Fill(cache, 70);
        packer.Pack(whole, Packing, selector: null);
        packer.Pack(streamed, Packing, selector: null);
        while (streamed.Tables[0].Length < 150)
        {
            Extend(cache, streamed, 1);
            packer.Pack(streamed, Packing, selector: null);
            cache.AssertConsistent([whole, streamed]);
        }

        for (int group = 0; group < 2; group++)
            for (int index = 0; index < 3; index++)
                Assert.Equal(Content(cache, whole.Tables[group].Blocks[index]), Content(cache, streamed.Tables[group].Blocks[index]));
        cache.Release(whole);
        cache.Release(streamed);
        Assert.Equal(0, cache.Blocks.Used);
    }

    [Fact]
    public void Keys_that_age_while_decoding_lose_precision_like_those_of_the_prompt()
    {
        // A group of one token would have min = max and be exact, with nothing saved.
        KvCache cache = NewCache(40);
        var packer = new KvPacker(cache);
        SequenceCache sequence = Fill(cache, 40), exact = Fill(cache, 40);
        for (int token = 0; token < 60; token++)
        {
            Extend(cache, sequence, 1);
            Extend(cache, exact, 1);
            packer.Pack(sequence, Packing, selector: null);
        }

        Assert.True(sequence.Tables[0].Blocks[1] < 0);
        byte[] child = Content(cache, sequence.Tables[0].Blocks[1]), block = Content(cache, exact.Tables[0].Blocks[1]);
        int different = 0;
        for (int slot = 0; slot < BlockSize; slot++)
        {
            for (int c = 0; c < HeadDim; c++)
            {
                double scale = (double)BitConverter.ToHalf(child, HeadDim * 16 + 4 * c), min = (double)BitConverter.ToHalf(child, HeadDim * 16 + 4 * c + 2);
                int code = (child[c * 16 + slot % 16] >> (slot / 16 * 4)) & 15;
                float key = BitConverter.ToSingle(block, 4 * (slot * HeadDim + c));
                Assert.InRange(Math.Abs(code * scale + min - key), 0, scale / 2 + 0.002);
                different += Math.Abs(code * scale + min - key) > 1e-3 ? 1 : 0;
            }
        }

        Assert.InRange(different, BlockSize * HeadDim / 2, BlockSize * HeadDim);
    }

    [Fact]
    public void A_cached_prefix_is_packed_for_its_reader_and_stays_as_it_is()
    {
        KvCache cache = NewCache(40);
        UInt128[] keys = [1, 2, 3, 4];
        SequenceCache first = Fill(cache, 128), second = new(cache.Layout.Groups, 0, tracksPositions: true);
        cache.OfferPrefix(first, keys);
        Assert.Equal(128, cache.AttachPrefix(second, keys));
        byte[] before = Content(cache, first.Tables[0].Blocks[1]);
        int shared = first.Tables[0].Blocks[1], free = cache.Blocks.Free;
        var packer = new KvPacker(cache);
        Assert.Equal(1 + 1, packer.Reserve(second, 0, Packing, selector: null)); // six children, all of blocks that are shared
        packer.Pack(second, Packing, selector: null);
        Assert.Equal(free - 1, cache.Blocks.Free);
        Assert.Equal(before, Content(cache, shared));
        cache.AssertConsistent([first, second]);

        cache.Release(first);
        var third = new SequenceCache(cache.Layout.Groups, 0, tracksPositions: true);
        Assert.Equal(128, cache.AttachPrefix(third, keys));
        cache.Release(third);

        // What follows a packed block depends on it, so that it is not offered.
        Extend(cache, second, 64);
        cache.OfferPrefix(second, [1, 2, 3, 4, 5, 6]);
        Assert.Equal(128, cache.AttachPrefix(third, [1, 2, 3, 4, 5, 6]));
        cache.Release(third);
        cache.Release(second);
        Assert.Equal(0, cache.Blocks.Used);
    }

    [Fact]
    public void Forks_share_children_and_swapping_brings_them_back()
    {
        KvCache cache = NewCache(60);
        var sums = new SumStore(_backend, 2, 256, 2);
        var swap = new KvSwap(_backend, cache, sums, long.MaxValue);
        SequenceCache parent = Fill(cache, 180), child = new(cache.Layout.Groups, 0, tracksPositions: true);
        new KvPacker(cache).Pack(parent, Packing, selector: null);
        cache.Fork(parent, child);
        int used = cache.Blocks.Used;
        byte[][] before = [.. parent.Tables[1].Blocks.ToArray().Select(entry => Content(cache, entry))];
        cache.Release(parent);
        Assert.Equal(used, cache.Blocks.Used);
        cache.AssertConsistent([child]);

        SwappedKv swapped = swap.TrySwapOut(child)!;
        Assert.Equal(0, cache.Blocks.Used);
        // Four children of each group in two parents, and two full blocks of each.
        Assert.Equal((2 + 4, 8L * cache.Format.ChildBytes + 4L * cache.Format.BlockBytes), (swapped.Blocks, swap.Used));
        SequenceCache other = Fill(cache, 40, seed: 2);
        swap.SwapIn(swapped, child);
        Assert.True(child.IsPacked);
        for (int index = 0; index < before.Length; index++)
            Assert.Equal(before[index], Content(cache, child.Tables[1].Blocks[index]));
        cache.AssertConsistent([child, other]);
        cache.Release(child);
        cache.Release(other);
        Assert.Equal((0, 0L), (cache.Blocks.Used, swap.Used));
    }

    [Fact]
    public void A_dropped_range_releases_whole_children_and_masks_the_rest_and_half_dead_blocks_are_never_packed()
    {
        KvCache cache = NewCache(60, KvGrouping.Model);
        var compressor = new KvCompressor(cache, new SumStore(_backend, 2, 256, 2));
        var packer = new KvPacker(cache);
        SequenceCache sequence = Fill(cache, 200);
        var dropper = new Dropper(4, 70);
        compressor.Compress(sequence, dropper, [], 200, 200, 0);
        packer.Pack(sequence, Packing, dropper);
        // Blocks of slots: sinks and dead ones; half dead; live and packed up to the residual.
        Assert.Equal([false, false, true, true, false, false], sequence.Tables[0].Blocks.ToArray().Select(entry => entry < 0));
        Assert.Equal(2, cache.Blocks.Children);

        dropper.End = 32 + 32 + 10;
        compressor.Compress(sequence, dropper, [], 200, 200, 0);
        Assert.Equal([false, true, true, false, false], sequence.Tables[0].Blocks.ToArray().Select(entry => entry < 0));
        Assert.Equal((4, 38), (sequence.Tables[0].GapStart, sequence.Tables[0].GapLength));
        dropper.End = 32 + 32 + 1;
        compressor.Compress(sequence, dropper, [], 200, 200, 0);
        Assert.Equal([false, true, false, false], sequence.Tables[0].Blocks.ToArray().Select(entry => entry < 0));
        Assert.Equal(1, cache.Blocks.Children);
        cache.AssertConsistent([sequence]);
        cache.Release(sequence);
        Assert.Equal(0, cache.Blocks.Used);
    }

    [Fact]
    public void Slots_of_a_packed_block_are_never_gathered()
    {
        KvCache cache = NewCache(60, KvGrouping.Model);
        var compressor = new KvCompressor(cache, new SumStore(_backend, 2, 256, 2));
        SequenceCache sequence = Fill(cache, 100);
        var packer = new KvPacker(cache);
        packer.Pack(sequence, Packing, new Gatherer([]));
        Assert.False(sequence.IsPacked); // a selector that gathers keeps full precision unless it says otherwise
        packer.Pack(sequence, Packing, selector: null);
        compressor.Compress(sequence, new Gatherer([.. Enumerable.Range(0, 64), 70, 99]), [], 100, 100, 0); // behind them all is well
        Assert.Equal(66, sequence.Tables[0].Length);
        Assert.Throws<InvalidOperationException>(() => compressor.Compress(sequence, new Gatherer([1, 2, 3]), [], 100, 100, 0));
        cache.AssertConsistent([sequence]);
        cache.Release(sequence);
    }

    private sealed class Dropper(int start, int end) : KvSelector
    {
        public int End { get; set; } = end;

        public override void Select(in KvObservation seen, KeepSet keep) => keep.Drop(0, start, End);
    }

    private sealed class Gatherer(int[] slots) : KvSelector
    {
        public override bool Gathers => true;

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            keep.Restrict(0);
            foreach (int slot in slots)
                keep.Keep(0, slot);
        }
    }
}
