using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Cache;

/// <summary>The policy answers, the cache obeys: asks a sequence's selector what survives, moves survivors together, frees the rest.</summary>
/// <remarks>
/// A range is dropped by unlinking whole blocks and masking what is left of it; nothing moves. A list of survivors is gathered with
/// the fewest moves: survivors below the new length stay, the later ones fill the holes from the front. Slot order carries no
/// meaning because keys are stored rotated. A block that others hold, or that is a cached prefix, is never written: its survivors
/// move to a fresh block. Engine thread only.
/// </remarks>
internal sealed class KvCompressor
{
    private readonly KvCache _cache;
    private readonly SumStore _sums;
    private readonly KeepSet _keep;
    private readonly int[] _lengths;
    private readonly List<SlotMove> _moves = [];
    private readonly List<SlotMove> _evictions = [];
    private readonly List<int> _replaced = []; // places in a table
    private readonly List<int> _survivors = [];
    private int[] _kept = [];
    private int[] _oldBlocks = [];
    private int _reserved; // free blocks that copies which could be avoided leave alone

    /// <summary>Works on one cache and the sums of its sequences.</summary>
    public KvCompressor(KvCache cache, SumStore sums)
    {
        (_cache, _sums) = (cache, sums);
        _keep = new KeepSet(cache.Layout.Groups);
        _lengths = new int[cache.Layout.Groups];
    }

    /// <summary>Tokens dropped so far, summed over groups.</summary>
    public long DroppedSlots { get; private set; }

    /// <summary>
    /// Asks the selector about a sequence of <paramref name="tokens"/> and obeys. Call after every step that ends the prompt or extends
    /// the sequence.
    /// </summary>
    /// <param name="reserved">
    /// Free blocks that the compressions of this step may need, this one's among them: as many as it may write of those that
    /// <see cref="KvCache.SharedBlocks"/> counts, because they are copied before any is freed.
    /// </param>
    /// <exception cref="Exception">Whatever the selector throws, or <see cref="InvalidOperationException"/> for an impossible answer; the sequence must end.</exception>
    public void Compress(SequenceCache cache, KvSelector selector, ReadOnlySpan<int> tokens, int promptTokens, int computedTokens, int reserved)
    {
        _keep.Clear();
        selector.Select(Observe(cache, cache.Watch.Sums, tokens, promptTokens, computedTokens), _keep);
        Obey(cache, reserved);
    }

    /// <summary>The pool is full: asks the selector to give up more than it has to, and obeys.</summary>
    /// <param name="free">Blocks that may be taken for copies.</param>
    /// <returns>False when nothing was given up.</returns>
    /// <exception cref="Exception">As <see cref="Compress"/>.</exception>
    public bool Yield(SequenceCache cache, KvSelector selector, ReadOnlySpan<int> tokens, int promptTokens, int computedTokens, int free)
    {
        int shared = selector.Gathers ? _cache.SharedBlocks(cache) : 0;
        if (shared > free || (selector.Gathers && cache.IsPacked))
            return false;
        _keep.Clear();
        if (!selector.Yield(Observe(cache, cache.Sums & AttentionSums.Columns, tokens, promptTokens, computedTokens), _keep))
            return false;
        Obey(cache, _cache.Blocks.Free - free + shared);
        return true;
    }

    private void Obey(SequenceCache cache, int reserved)
    {
        _reserved = reserved;
        _evictions.Clear(); // of a sequence whose selector gave an impossible answer
        for (int group = 0; group < _keep.Groups; group++)
        {
            (int start, int end) = _keep.Dropped(group);
            if (end > start)
                DropRange(cache, group, start, end);
            else if (_keep.Evicted(group) >= 0)
                Evict(cache, group, _keep.Evicted(group));
            else if (_keep.Survivors(group) is not null)
                Gather(cache, group, _keep.SurvivorSpan(group));
        }

        FlushEvictions();
    }

    /// <summary>Moves of single slots wait for each other, because a call for each costs more than the copy; a gather, which takes blocks, comes behind them.</summary>
    private void FlushEvictions()
    {
        _cache.MoveSlots(_evictions);
        _evictions.Clear();
    }

    private KvObservation Observe(SequenceCache cache, AttentionSums sums, ReadOnlySpan<int> tokens, int promptTokens, int computedTokens)
    {
        for (int group = 0; group < _lengths.Length; group++)
            _lengths[group] = cache.Tables[group].Length;
        return new KvObservation
        {
            Layout = _cache.Layout,
            Tokens = tokens,
            PromptTokens = promptTokens,
            ComputedTokens = computedTokens,
            Lengths = _lengths,
            ColumnSums = Read(cache, sums & AttentionSums.Columns),
            BandSums = Read(cache, sums & AttentionSums.Band),
            RangeMass = Read(cache, sums & AttentionSums.RangeMass),
            SumStride = _sums.Slots,
            SlotPositions = cache.SlotPositions,
        };
    }

    private ReadOnlySpan<float> Read(SequenceCache cache, AttentionSums one) =>
        cache.SumRow < 0 || one == AttentionSums.None ? [] : _sums.Read(one, cache.SumRow);

    /// <summary>The last slot takes the place of another: one move, when the block may be written.</summary>
    private void Evict(SequenceCache cache, int group, int slot)
    {
        ref BlockTable table = ref cache.Tables[group];
        int last = table.Length - 1, blockSize = _cache.Format.BlockSize;
        if (slot > last || table.GapLength > 0)
            throw new InvalidOperationException($"Slot {slot} of group {group} cannot be evicted: {table.Length} slots, a gap of {table.GapLength}.");
        if (table.Blocks[slot / blockSize] < 0)
            throw new InvalidOperationException($"Slot {slot} of group {group} is packed and cannot be evicted alone.");
        if (slot < last && !_cache.Blocks.IsWritable(table.Blocks[slot / blockSize]))
        {
            _survivors.Clear();
            for (int survivor = 0; survivor <= last; survivor++)
                if (survivor != slot)
                    _survivors.Add(survivor);
            Gather(cache, group, CollectionsMarshal.AsSpan(_survivors));
            return;
        }

        DroppedSlots++;
        cache.IsCompressed = true;
        if (slot < last)
        {
            _evictions.Add(new SlotMove(table.GlobalSlot(last, blockSize), table.GlobalSlot(slot, blockSize)));
            cache.SlotPositions![group][slot] = cache.SlotPositions[group][last];
        }

        if (cache.SumRow >= 0)
            _sums.Move(cache.SumRow + group * _cache.Layout.LanesPerGroup, _cache.Layout.LanesPerGroup, last, slot);
        table.Length = last;
        if (last % blockSize == 0)
        {
            _cache.Blocks.Release(table.Blocks[last / blockSize]);
            table.Truncate(last / blockSize);
        }
    }

    private void DropRange(SequenceCache cache, int group, int start, int end)
    {
        ref BlockTable table = ref cache.Tables[group];
        int blockSize = _cache.Format.BlockSize, gapEnd = table.GapStart + table.GapLength;
        if (start < 0 || end > table.Length)
            throw new InvalidOperationException($"Slots [{start}, {end}) leave the {table.Length} slots of group {group}.");
        if (table.GapLength > 0 && (start > gapEnd || end < table.GapStart))
            throw new InvalidOperationException($"Slots [{start}, {end}) do not touch the gap [{table.GapStart}, {gapEnd}) of group {group}.");
        if (table.GapLength > 0)
            (start, end) = (Math.Min(start, table.GapStart), Math.Max(end, gapEnd));
        DroppedSlots += end - start - table.GapLength;
        cache.IsCompressed = true;

        int first = (start + blockSize - 1) / blockSize, freed = Math.Max(0, end / blockSize - first);
        for (int index = first; index < first + freed; index++)
            _cache.Blocks.Release(table.Blocks[index]);
        int[] positions = cache.SlotPositions![group];
        int shift = freed * blockSize;
        if (freed > 0)
        {
            positions.AsSpan(end, table.Length - end).CopyTo(positions.AsSpan(end - shift));
            DropSums(cache, group, end, shift, table.Length);
            table.RemoveBlocks(first, freed, blockSize);
        }

        positions.AsSpan(start, end - shift - start).Fill(SequenceCache.DeadSlot);
        table.SetGap(start, end - shift - start);
    }

    private void DropSums(SequenceCache cache, int group, int end, int shift, int length)
    {
        if (cache.SumRow < 0)
            return;
        Span<int> kept = Kept(length - shift);
        for (int slot = 0; slot < kept.Length; slot++)
            kept[slot] = slot < end - shift ? slot : slot + shift;
        GatherSums(cache, group, kept, length);
    }

    private void Gather(SequenceCache cache, int group, ReadOnlySpan<int> survivors)
    {
        ref BlockTable table = ref cache.Tables[group];
        int[] positions = cache.SlotPositions![group];
        Check(survivors, positions, table.Length, group);
        if (survivors.Length == table.Length)
            return;
        DroppedSlots += table.LiveSlots - survivors.Length;
        cache.IsCompressed = true;

        FlushEvictions();
        Span<int> kept = Kept(survivors.Length);
        PlanGather(survivors, kept);
        CheckInPlace(table, group, kept, _cache.Format.BlockSize);
        MoveIntoPlace(ref table, kept);
        for (int slot = 0; slot < kept.Length; slot++)
            positions[slot] = positions[kept[slot]];
        GatherSums(cache, group, kept, table.Length);
        table.Length = kept.Length;
        table.SetGap(0, 0);
    }

    /// <summary>kept[i] = slot whose content slot i holds afterwards: itself where it survives, else the next survivor beyond the new length.</summary>
    private static void PlanGather(ReadOnlySpan<int> survivors, Span<int> kept)
    {
        int staying = 0, moving = 0;
        while (moving < survivors.Length && survivors[moving] < kept.Length)
            moving++;
        for (int slot = 0; slot < kept.Length; slot++)
        {
            if (staying < survivors.Length && survivors[staying] == slot)
                kept[slot] = survivors[staying++];
            else
                kept[slot] = survivors[moving++];
        }
    }

    /// <summary>Packed slots are read as they are and never moved: what a selector gathers must not be packed (<see cref="KvSelector.MayPack"/>).</summary>
    private static void CheckInPlace(in BlockTable table, int group, ReadOnlySpan<int> kept, int blockSize)
    {
        for (int index = 0; index < table.Count; index++)
        {
            int slot = index * blockSize, end = slot + blockSize;
            while (table.Blocks[index] < 0 && slot < end && slot < kept.Length && kept[slot] == slot)
                slot++;
            if (table.Blocks[index] < 0 && slot < end)
                throw new InvalidOperationException($"Slot {slot} of group {group} is packed and cannot be moved or dropped alone.");
        }
    }

    /// <exception cref="InvalidOperationException">Fewer blocks are free than must be copied; nothing was changed.</exception>
    private void MoveIntoPlace(ref BlockTable table, ReadOnlySpan<int> kept)
    {
        int blockSize = _cache.Format.BlockSize, blocks = (kept.Length + blockSize - 1) / blockSize;
        if (_oldBlocks.Length < table.Count)
            _oldBlocks = new int[Math.Max(table.Count, 2 * _oldBlocks.Length)];
        table.Blocks.CopyTo(_oldBlocks);
        _replaced.Clear();
        for (int index = 0; index < blocks; index++)
            if (IsWritten(kept, index * blockSize, blockSize) && !MakeWritable(_oldBlocks[index]))
                _replaced.Add(index);
        if (_replaced.Count > _cache.Blocks.Free)
            throw new InvalidOperationException($"{_replaced.Count} shared blocks must be copied and {_cache.Blocks.Free} are free.");

        foreach (int index in _replaced)
            table.Replace(index, _cache.Take());
        _moves.Clear();
        for (int slot = 0; slot < kept.Length; slot++)
            if (kept[slot] != slot || table.Blocks[slot / blockSize] != _oldBlocks[slot / blockSize])
                _moves.Add(new SlotMove(_oldBlocks[kept[slot] / blockSize] * blockSize + kept[slot] % blockSize, table.GlobalSlot(slot, blockSize)));

        MoveOrRestore(ref table);
        for (int index = table.Count - 1; index >= blocks; index--)
            _cache.Blocks.Release(table.Blocks[index]);
        foreach (int index in _replaced)
            _cache.Blocks.Release(_oldBlocks[index]);
        table.Truncate(blocks);
    }

    /// <summary>A device that refuses leaves the sequence to end with the blocks it had: those taken for copies are given back here.</summary>
    private void MoveOrRestore(ref BlockTable table)
    {
        try
        {
            _cache.MoveSlots(_moves);
        }
        catch
        {
            foreach (int index in _replaced)
            {
                _cache.Blocks.Release(table.Blocks[index]);
                table.Replace(index, _oldBlocks[index]);
            }

            throw;
        }
    }

    /// <summary>A slot of the block at <paramref name="first"/> gets other content.</summary>
    private static bool IsWritten(ReadOnlySpan<int> kept, int first, int blockSize)
    {
        for (int slot = first; slot < Math.Min(first + blockSize, kept.Length); slot++)
            if (kept[slot] != slot)
                return true;
        return false;
    }

    /// <summary>
    /// True when the block may be written in place. A cached prefix that nobody else holds is copied too, so that it stays cached;
    /// it is given up when the free blocks are needed for those that others hold.
    /// </summary>
    private bool MakeWritable(int block)
    {
        if (_cache.Blocks.References(block) == 1 && _cache.Blocks.Entry(block) >= 0 && _cache.Blocks.Free - _replaced.Count <= _reserved)
            _cache.Forget(_cache.Blocks.Entry(block));
        return _cache.Blocks.IsWritable(block);
    }

    private static void Check(ReadOnlySpan<int> survivors, int[] positions, int length, int group)
    {
        if (survivors.Length > 0 && (survivors[0] < 0 || survivors[^1] >= length))
            throw new InvalidOperationException($"Survivors [{survivors[0]}, {survivors[^1]}] leave the {length} slots of group {group}.");
        foreach (int slot in survivors)
            if (positions[slot] == SequenceCache.DeadSlot)
                throw new InvalidOperationException($"Slot {slot} of group {group} holds nothing and cannot survive.");
    }

    private Span<int> Kept(int slots)
    {
        if (_kept.Length < slots)
            _kept = new int[Math.Max(slots, 2 * _kept.Length)];
        return _kept.AsSpan(0, slots);
    }

    private void GatherSums(SequenceCache cache, int group, ReadOnlySpan<int> kept, int length)
    {
        int lanes = _cache.Layout.LanesPerGroup;
        if (cache.SumRow >= 0)
            _sums.Gather(cache.SumRow + group * lanes, lanes, kept, length);
    }
}
