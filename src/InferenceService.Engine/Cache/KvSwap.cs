using InferenceService.Compute;

namespace InferenceService.Engine.Cache;

/// <summary>Host memory for the K and V of preempted sequences whose cache cannot be recomputed from their tokens alone.</summary>
/// <remarks>
/// What a selector kept depends on every step since the prompt, so recomputing from tokens would change the output. The blocks are
/// copied out as they are, gap and slot order included, and copied back into any free blocks. Engine thread only.
/// </remarks>
internal sealed class KvSwap(IBackend backend, KvCache cache, SumStore sums, long budgetBytes)
{
    /// <summary>Bytes held.</summary>
    public long Used { get; private set; }

    /// <summary>Copies a sequence out and releases its blocks; null when the budget does not allow it and nothing was changed.</summary>
    public SwappedKv? TrySwapOut(SequenceCache sequence)
    {
        long memoryBytes = 0;
        foreach (ref readonly BlockTable table in sequence.Tables.AsSpan())
            for (int index = 0; index < InUse(table); index++)
                memoryBytes += Bytes(table.Blocks[index]);
        int slots = sequence.SumRow >= 0 ? sequence.LongestTable : -1;
        long bytes = memoryBytes + (slots >= 0 ? sums.SavedBytes(sequence.Sums, slots) : 0);
        if (Used + bytes > budgetBytes || TryAllocate(bytes) is not HostBuffer memory)
            return null;

        var tables = new BlockTable[sequence.Tables.Length];
        long at = 0;
        for (int group = 0; group < tables.Length; group++)
        {
            ref BlockTable table = ref sequence.Tables[group];
            tables[group] = new BlockTable(InUse(table));
            for (int index = 0; index < InUse(table); index++)
            {
                int entry = table.Blocks[index];
                backend.Download(cache.MemoryOf(entry), memory.Slice(at, Bytes(entry)));
                tables[group].Append(entry);
                at += Bytes(entry);
            }

            tables[group].Length = table.Length;
            tables[group].SetGap(table.GapStart, table.GapLength);
            tables[group].CopyHole(table);
        }

        if (slots >= 0)
        {
            sums.Save(sequence.Sums, sequence.SumRow, slots, memory, at);
            sums.Return(sequence.SumRow);
            sequence.SumRow = -1;
        }

        (bool compressed, bool packed) = (sequence.IsCompressed, sequence.IsPacked);
        cache.Release(sequence);
        Used += bytes;
        return new SwappedKv(memory, tables, slots, BlocksToReturn(tables), compressed, packed);
    }

    /// <summary>Copies a sequence back into fresh blocks; the caller has checked that <see cref="SwappedKv.Blocks"/> are free.</summary>
    public void SwapIn(SwappedKv swapped, SequenceCache sequence)
    {
        long at = 0;
        for (int group = 0; group < swapped.Tables.Length; group++)
        {
            ref readonly BlockTable saved = ref swapped.Tables[group];
            ref BlockTable table = ref sequence.Tables[group];
            foreach (int old in saved.Blocks)
            {
                int entry = old < 0 ? ~cache.TakeChild() : cache.Take();
                table.Append(entry);
                backend.Upload(swapped.Memory.Slice(at, Bytes(entry)), cache.MemoryOf(entry));
                at += Bytes(entry);
            }

            table.Length = saved.Length;
            table.SetGap(saved.GapStart, saved.GapLength);
            table.CopyHole(saved);
        }

        if (swapped.SumSlots >= 0)
        {
            sequence.SumRow = sums.Rent();
            sums.Restore(sequence.Sums, sequence.SumRow, swapped.SumSlots, swapped.Memory, at);
        }

        // Whether its blocks were offered before no longer matters: these copies stay private.
        (sequence.IsCompressed, sequence.IsPacked, sequence.OfferedBlocks) = (swapped.IsCompressed, swapped.IsPacked, int.MaxValue);
        Discard(swapped);
    }

    /// <summary>Frees the host memory of a sequence that will not come back, or has come back.</summary>
    public void Discard(SwappedKv swapped)
    {
        Used -= swapped.Bytes;
        swapped.Memory.Dispose();
    }

    // The budget allows it; a system that does not is one more reason to replay the sequence.
    private static HostBuffer? TryAllocate(long bytes)
    {
        try
        {
            return new HostBuffer(bytes);
        }
        catch (OutOfMemoryException)
        {
            return null;
        }
    }

    private int BlocksToReturn(BlockTable[] tables)
    {
        int blocks = 0, children = 0;
        foreach (ref readonly BlockTable table in tables.AsSpan())
            foreach (int entry in table.Blocks)
                (entry < 0 ? ref children : ref blocks)++;
        return blocks + (children == 0 ? 0 : (children + cache.Format.ChildrenPerBlock - 1) / cache.Format.ChildrenPerBlock);
    }

    private int Bytes(int entry) => entry < 0 ? cache.Format.ChildBytes : cache.Format.BlockBytes;

    private int InUse(in BlockTable table) => (table.Length + cache.Format.BlockSize - 1) / cache.Format.BlockSize;
}

/// <summary>One sequence's K and V in host memory.</summary>
/// <param name="Memory">All groups' blocks and packed children, in table order; then the attention sums.</param>
/// <param name="Tables">[groups] lengths and gaps; of the entries only which are packed still means something.</param>
/// <param name="SumSlots">Slots of its attention sums; −1 = not observed.</param>
/// <param name="Blocks">Blocks needed, at most, to come back.</param>
/// <param name="IsCompressed">Something had been dropped.</param>
/// <param name="IsPacked">Something had been packed.</param>
internal sealed record SwappedKv(HostBuffer Memory, BlockTable[] Tables, int SumSlots, int Blocks, bool IsCompressed, bool IsPacked)
{
    /// <summary>Host bytes, sums included: what counts against the budget.</summary>
    public long Bytes => Memory.ByteLength;

    /// <summary>Blocks needed besides to compute the next token.</summary>
    public int BlocksToGrow(int blockSize)
    {
        int blocks = 0;
        foreach (ref readonly BlockTable table in Tables.AsSpan())
            blocks += table.BlocksMissing(1, blockSize);
        return blocks;
    }
}
