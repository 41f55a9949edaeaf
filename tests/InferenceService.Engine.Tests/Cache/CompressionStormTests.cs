using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache;

/// <summary>Sequences that share, grow, drop, swap and end at random, with a tag in every slot: nobody ever sees a slot that is not its own.</summary>
public sealed class CompressionStormTests
{
    private const int BlockSize = 4;
    private const int Slots = 64;

    [Fact]
    public void No_slot_is_lost_or_overwritten_and_no_block_leaks() => Property.Check(60, seed =>
    {
        using var backend = new CpuBackend(1);
        var storm = new Storm(backend, new Random(seed));
        for (int step = 0; step < 150; step++)
            storm.Step();
        storm.End();
    });

    [Fact]
    public void The_last_free_blocks_go_to_copies_of_shared_blocks_not_of_cached_ones()
    {
        using var backend = new CpuBackend(1);
        var layout = new KvLayout([0], 1, KvGrouping.Model);
        var cache = new KvCache(backend, layout, new KvBlockFormat(DType.F32, BlockSize, 1, 1), 6, prefixCaching: true, "test");
        var compressor = new KvCompressor(cache, new SumStore(backend, 1, Slots, 2));
        UInt128[] keys = [1, 2, 3];
        SequenceCache first = new(1, 0, true), second = new(1, 0, true);
        cache.Grow(first, 12);
        first.Advance(0, 12);
        cache.OfferPrefix(first, keys);
        cache.AttachPrefix(second, keys);
        compressor.Compress(second, new Keeper([1, 2, 3, 4, 5, 6, 7]), [], 0, 12, cache.SharedBlocks(second));
        // The first block is now the first sequence's own, though cached; the second block is still shared.
        Assert.Equal([1, 2, 1], first.Tables[0].Blocks.ToArray().Select(cache.Blocks.References));
        cache.Take();
        Assert.Equal((1, 1), (cache.Blocks.Free, cache.SharedBlocks(first)));
        compressor.Compress(first, new Keeper([1, 2, 3, 5, 6, 7, 8, 9]), [], 0, 12, cache.SharedBlocks(first));
        Assert.Equal([8, 1, 2, 3, 9, 5, 6, 7], first.SlotPositions![0].Take(8));
        Assert.Equal([7, 1, 2, 3, 4, 5, 6], second.SlotPositions![0].Take(7));
    }

    private sealed class Keeper(int[] slots) : KvSelector
    {
        public override bool Gathers => true;

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            keep.Restrict(0);
            foreach (int slot in slots)
                keep.Keep(0, slot);
        }
    }

    private sealed class Storm
    {
        private readonly Random _random;
        private readonly CpuBackend _backend;
        private readonly KvCache _cache;
        private readonly SumStore _sums;
        private readonly KvCompressor _compressor;
        private readonly KvSwap _swap;
        private readonly List<Model> _alive = [];

        public Storm(CpuBackend backend, Random random)
        {
            (_backend, _random) = (backend, random);
            var layout = new KvLayout([0, 1], 1, random.Next(3) == 0 ? KvGrouping.Model : KvGrouping.Layer);
            var format = new KvBlockFormat(DType.F32, BlockSize, 1, layout.LanesPerGroup);
            _cache = new KvCache(backend, layout, format, 16 + random.Next(40), prefixCaching: true, "storm");
            _sums = new SumStore(backend, 2, Slots, 16);
            _compressor = new KvCompressor(_cache, _sums);
            _swap = new KvSwap(backend, _cache, _sums, long.MaxValue);
        }

        public void Step()
        {
            Model? model = _alive.Count == 0 ? null : _alive[_random.Next(_alive.Count)];
            switch (_random.Next(7))
            {
                case 0 when _alive.Count < 8: Enter(); break;
                case 1 or 2 when model is { Swapped: null }: Grow(model); break;
                case 3 when model is { Swapped: null } && _alive.Count < 8: Fork(model); break;
                case 4 when model is { Swapped: null }: Compress(model); break;
                case 5 when model is not null: Swap(model); break;
                case 6 when model is not null && _random.Next(3) == 0: Leave(model); break;
            }

            _cache.AssertConsistent(_alive.Select(other => other.Cache));
            foreach (Model other in _alive)
            {
                AssertTags(other);
                Assert.Equal(
                    other.Cache.Tables.Sum(table => table.Blocks.ToArray().Count(block => _cache.Blocks.References(block) > 1)),
                    _cache.SharedBlocks(other.Cache));
            }
        }

        public void End()
        {
            foreach (Model model in _alive.ToArray())
                Leave(model);
            Assert.Equal((0, 0L), (_cache.Blocks.Used, _swap.Used));
        }

        private void Enter()
        {
            int text = _random.Next(3);
            var model = new Model(text, new SequenceCache(_cache.Layout.Groups, 0, tracksPositions: true));
            var keys = new UInt128[Slots / BlockSize];
            for (int block = 0; block < keys.Length; block++)
                keys[block] = PrefixKey.Next(block == 0 ? _cache.PrefixRoot(null) : keys[block - 1], [text, block]);
            model.Keys = keys;
            model.Computed = _cache.AttachPrefix(model.Cache, keys.AsSpan(0, _random.Next(5)));
            for (int position = 0; position < model.Computed; position++)
                foreach (Dictionary<int, float> tags in model.Tags)
                    tags[position] = model.Tag(position);
            _alive.Add(model);
        }

        private void Grow(Model model)
        {
            int tokens = Math.Min(1 + _random.Next(6), Slots - model.Computed);
            if (tokens == 0 || _cache.BlocksToGrow(model.Cache, tokens) > _cache.Blocks.Free)
                return;
            _cache.Grow(model.Cache, tokens);
            for (int group = 0; group < _cache.Layout.Groups; group++)
            {
                BlockTable table = model.Cache.Tables[group];
                for (int i = 0; i < tokens; i++)
                {
                    int slot = table.GlobalSlot(table.Length + i, BlockSize);
                    Assert.True(_cache.Blocks.IsWritable(slot / BlockSize));
                    Write(slot, model.Tag(model.Computed + i));
                    model.Tags[group][model.Computed + i] = model.Tag(model.Computed + i);
                }
            }

            model.Cache.Advance(model.Computed, tokens);
            model.Computed += tokens;
            if (!model.IsPrivate)
                _cache.OfferPrefix(model.Cache, model.Keys);
        }

        private void Fork(Model parent)
        {
            var child = new Model(parent.Text, new SequenceCache(_cache.Layout.Groups, 0, tracksPositions: true))
            {
                Keys = parent.Keys,
                Computed = parent.Computed,
                IsPrivate = true,
            };
            parent.IsPrivate = true; // from here on the two say different things
            _cache.Fork(parent.Cache, child.Cache);
            for (int group = 0; group < _cache.Layout.Groups; group++)
                foreach ((int position, float tag) in parent.Tags[group])
                    child.Tags[group][position] = tag;
            _alive.Add(child);
        }

        private void Compress(Model model)
        {
            if (_cache.SharedBlocks(model.Cache) > _cache.Blocks.Free)
                return;
            var selector = new RandomSelector(_random, _cache.Layout.Groups);
            _compressor.Compress(model.Cache, selector, [], 0, model.Computed, _cache.SharedBlocks(model.Cache));
            for (int group = 0; group < _cache.Layout.Groups; group++)
                foreach (int position in selector.Dropped[group])
                    Assert.True(model.Tags[group].Remove(position));
            model.IsPrivate = true;
        }

        private void Swap(Model model)
        {
            if (model.Swapped is null)
            {
                model.Swapped = _swap.TrySwapOut(model.Cache);
                model.IsPrivate = true;
            }
            else if (model.Swapped.Blocks <= _cache.Blocks.Free)
            {
                _swap.SwapIn(model.Swapped, model.Cache);
                model.Swapped = null;
            }
        }

        private void Leave(Model model)
        {
            if (model.Swapped is not null)
                _swap.Discard(model.Swapped);
            _cache.Release(model.Cache);
            _alive.Remove(model);
        }

        private void AssertTags(Model model)
        {
            for (int group = 0; group < _cache.Layout.Groups && model.Swapped is null; group++)
            {
                BlockTable table = model.Cache.Tables[group];
                var seen = new Dictionary<int, float>();
                for (int slot = 0; slot < table.Length; slot++)
                {
                    bool dead = slot >= table.GapStart && slot < table.GapStart + table.GapLength;
                    int position = model.Cache.SlotPositions![group][slot];
                    Assert.Equal(dead, position == SequenceCache.DeadSlot);
                    if (!dead)
                        seen.Add(position, Read(table.GlobalSlot(slot, BlockSize)));
                }

                Assert.Equal(model.Tags[group].OrderBy(tag => tag.Key), seen.OrderBy(tag => tag.Key));
            }
        }

        private void Write(int slot, float tag) => _backend.Upload(BitConverter.GetBytes(tag), Key(slot));

        private float Read(int slot)
        {
            byte[] bytes = new byte[sizeof(float)];
            _backend.Download(Key(slot), bytes);
            return BitConverter.ToSingle(bytes);
        }

        private Tensor Key(int slot) => _cache.Memory.RowRange(slot / BlockSize, 1).ColumnRange(slot % BlockSize * sizeof(float), sizeof(float));
    }

    private sealed class Model(int text, SequenceCache cache)
    {
        private static int _made;
        private readonly int _identity = ++_made;

        public int Text => text;

        public SequenceCache Cache => cache;

        public UInt128[] Keys { get; set; } = [];

        public Dictionary<int, float>[] Tags { get; } = [[], []];

        public int Computed { get; set; }

        /// <summary>Its tokens are its own: nobody may find them as a prefix.</summary>
        public bool IsPrivate { get; set; }

        public SwappedKv? Swapped { get; set; }

        public float Tag(int position) => position + 1000 * (IsPrivate ? 10 + _identity % 10_000 : text);
    }

    private sealed class RandomSelector(Random random, int groups) : KvSelector
    {
        public override bool Gathers => true;

        public List<int>[] Dropped { get; } = [.. Enumerable.Range(0, groups).Select(_ => new List<int>())];

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            for (int group = 0; group < groups; group++)
            {
                int[] positions = seen.Positions(group).ToArray();
                int[] live = [.. Enumerable.Range(0, positions.Length).Where(slot => positions[slot] >= 0)];
                int[] dead = [.. Enumerable.Range(0, positions.Length).Except(live)];
                if (positions.Length == 0 || random.Next(4) == 0)
                    continue;
                if (random.Next(2) == 0)
                    DropRange(group, positions, dead, keep);
                else
                    KeepSome(group, positions, live, keep);
            }
        }

        private void DropRange(int group, int[] positions, int[] dead, KeepSet keep)
        {
            int start = random.Next(positions.Length), end = start + random.Next(positions.Length - start + 1);
            if (dead.Length > 0)
                (start, end) = (Math.Min(start, dead[0]), Math.Max(end, dead[^1] + 1));
            keep.Drop(group, start, end);
            Dropped[group].AddRange(positions[start..end].Where(position => position >= 0));
        }

        private void KeepSome(int group, int[] positions, int[] live, KeepSet keep)
        {
            int odds = random.Next(1, 6);
            keep.Restrict(group);
            foreach (int slot in live)
            {
                if (random.Next(6) < odds)
                    keep.Keep(group, slot);
                else
                    Dropped[group].Add(positions[slot]);
            }
        }
    }
}
