using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Cache;

/// <summary>Quantises a sequence's old blocks: each full block of live slots before the residual becomes a packed child, whose parent holds several.</summary>
/// <remarks>
/// A block that others hold, or that is a cached prefix, is read and left as it is; the sequence drops its reference. Which blocks are
/// packed depends on the table alone, so that a sequence says the same whatever else is in the pool. Engine thread only.
/// </remarks>
internal sealed class KvPacker(KvCache cache)
{
    private readonly List<BlockPack> _packs = [];
    private readonly List<(int Group, int Index)> _places = [];

    /// <summary>Blocks packed so far.</summary>
    public long PackedBlocks { get; private set; }

    /// <summary>
    /// Blocks that must be free for <see cref="Pack"/> after <paramref name="tokens"/> more, at most: it takes some before it gives any
    /// back. Where the selector has yet to decide, any group may be packed.
    /// </summary>
    public int Reserve(SequenceCache sequence, int tokens, KvPacking packing, KvSelector? selector)
    {
        if (packing.IsNone)
            return 0;
        int shared = 0;
        bool any = false;
        for (int group = 0; group < sequence.Tables.Length; group++)
        {
            if (selector is { IsSettled: true } && !selector.MayPack(group))
                continue;
            ref readonly BlockTable table = ref sequence.Tables[group];
            for (int index = End(table, tokens, packing) - 1; index >= 0 && (index >= table.Count || table.Blocks[index] >= 0); index--)
            {
                any = true;
                shared += index < table.Count && cache.Blocks.References(table.Blocks[index]) > 1 ? 1 : 0;
            }
        }

        return any ? 1 + BlocksFor(shared) : 0;
    }

    /// <summary>The same for a sequence that shares all <paramref name="blocks"/> of its blocks.</summary>
    public int ReserveShared(int blocks, KvPacking packing) => packing.IsNone ? 0 : 1 + BlocksFor(blocks);

    /// <summary>Parents of that many children.</summary>
    public int BlocksFor(int children) => children == 0 ? 0 : (children + cache.Format.ChildrenPerBlock - 1) / cache.Format.ChildrenPerBlock;

    /// <summary>Packs all that may be packed. Call once the prompt is computed, after every step, when the selector has answered.</summary>
    public void Pack(SequenceCache sequence, KvPacking packing, KvSelector? selector)
    {
        if (packing.IsNone)
            return;
        for (int group = 0; group < sequence.Tables.Length; group++)
        {
            if (selector?.MayPack(group) == false)
                continue;
            ref readonly BlockTable table = ref sequence.Tables[group];
            // Behind a packed block all were looked at before.
            for (int index = End(table, 0, packing) - 1; index >= 0 && table.Blocks[index] >= 0; index--)
            {
                if (!table.IsLive(index, cache.Format.BlockSize))
                    continue;
                _packs.Add(new BlockPack(table.Blocks[index], cache.TakeChild()));
                _places.Add((group, index));
                if (_packs.Count == cache.Format.ChildrenPerBlock)
                    Flush(sequence);
            }
        }

        Flush(sequence);
    }

    /// <summary>No more at once than one parent holds: it takes one block at most before it gives its sources back.</summary>
    private void Flush(SequenceCache sequence)
    {
        if (_packs.Count == 0)
            return;
        cache.PackBlocks(_packs);
        for (int i = 0; i < _packs.Count; i++)
        {
            sequence.Tables[_places[i].Group].Replace(_places[i].Index, ~_packs[i].Child);
            cache.Blocks.Release(_packs[i].Block);
        }

        PackedBlocks += _packs.Count;
        sequence.IsPacked = true;
        _packs.Clear();
        _places.Clear();
    }

    /// <summary>Blocks that lie wholly before the residual.</summary>
    private int End(in BlockTable table, int tokens, KvPacking packing) => Math.Max(0, table.Length + tokens - packing.Residual) / cache.Format.BlockSize;
}
