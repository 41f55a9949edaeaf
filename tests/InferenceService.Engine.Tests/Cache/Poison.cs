using InferenceService.Compute;
using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Tests.Cache;

/// <summary>Writes NaN where nothing may be read: free blocks, free packed children, and dead slots of blocks that one sequence holds.</summary>
internal sealed class Poison(KvCache cache, IBackend backend)
{
    private readonly byte[] _nan = [.. Enumerable.Repeat((byte)0xFF, cache.Format.BlockBytes)];

    /// <summary>Blocks, children and slots written so far.</summary>
    public int Written { get; private set; }

    /// <summary>Poisons what the sequences leave.</summary>
    public void Spread(IEnumerable<SequenceCache?> held)
    {
        for (int block = 0; block < cache.Blocks.Total; block++)
        {
            if (cache.Blocks.References(block) > 0)
                PoisonChildren(block);
            else if (cache.Blocks.Entry(block) < 0)
                Upload(cache.Memory.RowRange(block, 1));
        }

        foreach (BlockTable table in held.OfType<SequenceCache>().SelectMany(one => one.Tables))
        {
            // The gap, and the slots behind the last one, of blocks that nobody else reads.
            for (int slot = 0; slot < table.Count * cache.Format.BlockSize; slot++)
            {
                bool dead = slot >= table.Length || (slot >= table.GapStart && slot < table.GapStart + table.GapLength);
                if (dead && cache.Blocks.IsWritable(table.Blocks[slot / cache.Format.BlockSize]))
                    PoisonSlot(table.GlobalSlot(slot, cache.Format.BlockSize));
            }
        }
    }

    private void PoisonChildren(int block)
    {
        Range children = (block * cache.Format.ChildrenPerBlock)..((block + 1) * cache.Format.ChildrenPerBlock);
        IEnumerable<int> entries = Enumerable.Range(children.Start.Value, cache.Format.ChildrenPerBlock).Select(child => ~child);
        if (!entries.Any(entry => cache.Blocks.References(entry) > 0))
            return; // not split
        foreach (int entry in entries.Where(entry => cache.Blocks.References(entry) == 0))
            Upload(cache.MemoryOf(entry));
    }

    private void PoisonSlot(int globalSlot)
    {
        int block = globalSlot / cache.Format.BlockSize, row = cache.Format.HeadDim * sizeof(float);
        for (int half = 0; half < 2 * cache.Format.Lanes; half++)
        {
            int offset = (half * cache.Format.HalfLaneBytes) + (globalSlot % cache.Format.BlockSize * row);
            Upload(cache.Memory.RowRange(block, 1).ColumnRange(offset, row));
        }
    }

    private void Upload(Tensor memory)
    {
        backend.Upload(_nan.AsSpan(0, memory.Rows * memory.Columns), memory);
        Written++;
    }
}
