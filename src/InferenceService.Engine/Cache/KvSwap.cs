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
        int blockBytes = cache.Format.BlockBytes, blocks = 0;
        foreach (ref readonly BlockTable table in sequence.Tables.AsSpan())
            blocks += InUse(table);
        long bytes = (long)blocks * blockBytes + (sequence.SumRow >= 0 ? (long)sums.SavedElements(sequence.Sums) * sizeof(float) : 0);
        if (Used + bytes > budgetBytes || (long)blocks * blockBytes > Array.MaxLength)
            return null;

        byte[] memory = new byte[blocks * blockBytes];
        var tables = new BlockTable[sequence.Tables.Length];
        int next = 0;
        for (int group = 0; group < tables.Length; group++)
        {
            ref BlockTable table = ref sequence.Tables[group];
            for (int index = 0; index < InUse(table); index++, next++)
                backend.Download(cache.Memory.RowRange(table.Blocks[index], 1), memory.AsSpan(next * blockBytes, blockBytes));
            tables[group].Length = table.Length;
            tables[group].SetGap(table.GapStart, table.GapLength);
        }

        float[]? saved = null;
        if (sequence.SumRow >= 0)
        {
            saved = sums.Save(sequence.Sums, sequence.SumRow);
            sums.Return(sequence.SumRow);
            sequence.SumRow = -1;
        }

        bool compressed = sequence.IsCompressed;
        cache.Release(sequence);
        Used += bytes;
        return new SwappedKv(memory, tables, saved, blocks, bytes, compressed);
    }

    /// <summary>Copies a sequence back into fresh blocks; the caller has checked that <see cref="SwappedKv.Blocks"/> are free.</summary>
    public void SwapIn(SwappedKv swapped, SequenceCache sequence)
    {
        int blockBytes = cache.Format.BlockBytes, next = 0;
        for (int group = 0; group < swapped.Tables.Length; group++)
        {
            ref readonly BlockTable saved = ref swapped.Tables[group];
            ref BlockTable table = ref sequence.Tables[group];
            for (int index = 0; index * cache.Format.BlockSize < saved.Length; index++, next++)
            {
                table.Append(cache.Take());
                backend.Upload(swapped.Memory.AsSpan(next * blockBytes, blockBytes), cache.Memory.RowRange(table.Blocks[index], 1));
            }

            table.Length = saved.Length;
            table.SetGap(saved.GapStart, saved.GapLength);
        }

        if (swapped.Sums is not null)
        {
            sequence.SumRow = sums.Rent(sequence.Sums);
            sums.Restore(sequence.Sums, sequence.SumRow, swapped.Sums);
        }

        // Whether its blocks were offered before no longer matters: these copies stay private.
        (sequence.IsCompressed, sequence.OfferedBlocks) = (swapped.IsCompressed, int.MaxValue);
        Discard(swapped);
    }

    /// <summary>Frees the host memory of a sequence that will not come back, or has come back.</summary>
    public void Discard(SwappedKv swapped) => Used -= swapped.Bytes;

    private int InUse(in BlockTable table) => (table.Length + cache.Format.BlockSize - 1) / cache.Format.BlockSize;
}

/// <summary>One sequence's K and V in host memory.</summary>
/// <param name="Memory">[blocks, blockBytes] all groups' blocks, in table order.</param>
/// <param name="Tables">[groups] lengths and gaps; no block ids.</param>
/// <param name="Sums">Attention sums; null = not observed.</param>
/// <param name="Blocks">Blocks needed to come back.</param>
/// <param name="Bytes">Counted against the budget.</param>
/// <param name="IsCompressed">Something had been dropped.</param>
internal sealed record SwappedKv(byte[] Memory, BlockTable[] Tables, float[]? Sums, int Blocks, long Bytes, bool IsCompressed);
