using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Cache;

/// <summary>A model's cache memory: the pool, who holds its blocks, and which of them hold a reusable prefix.</summary>
/// <remarks>
/// Invariants: a block in a table has a reference; a block that is written has exactly one and no prefix entry; after a sequence's
/// <see cref="Release"/> nothing of it is held. Engine thread only.
/// </remarks>
internal sealed class KvCache
{
    private readonly IBackend _backend;
    private readonly PrefixIndex? _prefixes;
    private readonly byte[] _secret = PrefixKey.NewSecret();
    private readonly string _content;
    private readonly List<SlotMove> _moves = new(256);

    /// <summary>Allocates the pool.</summary>
    /// <param name="backend">Device that holds it.</param>
    /// <param name="layout">Groups of the model.</param>
    /// <param name="format">Layout of a block.</param>
    /// <param name="blocks">Blocks of the pool.</param>
    /// <param name="prefixCaching">Keep full blocks for reuse.</param>
    /// <param name="content">All that changes K and V besides the tokens: model, layout, rope, block format.</param>
    /// <param name="ages">Told what becomes of the blocks; null = nobody asks.</param>
    public KvCache(IBackend backend, KvLayout layout, KvBlockFormat format, int blocks, bool prefixCaching, string content, BlockAges? ages = null)
    {
        (_backend, Layout, Format, _content) = (backend, layout, format, content);
        Memory = backend.Allocate(DType.U8, blocks, format.BlockBytes);
        Blocks = new BlockPool(blocks, format.ChildrenPerBlock, ages);
        _prefixes = prefixCaching ? new PrefixIndex(layout.Groups, blocks) : null;
    }

    /// <summary>u8 [blocks, <see cref="KvBlockFormat.BlockBytes"/>].</summary>
    public Tensor Memory { get; }

    /// <summary>Layout of a block.</summary>
    public KvBlockFormat Format { get; }

    /// <summary>Groups of the model.</summary>
    public KvLayout Layout { get; }

    /// <summary>References and the free list.</summary>
    public BlockPool Blocks { get; }

    /// <summary>Check before every write that nobody else holds the block.</summary>
    public bool ChecksWrites { get; set; }

    /// <summary>Full blocks are kept for reuse.</summary>
    public bool HasPrefixes => _prefixes is not null;

    /// <summary>Parent key of a sequence's first block.</summary>
    public UInt128 PrefixRoot(string? salt, KvMask mask = default) => PrefixKey.Root(_secret, mask.IsNone ? _content : $"{_content}|{mask.Content}", salt);

    /// <summary>Blocks that <see cref="Grow"/> would take: new ones in all groups, and a copy of each partial last block that is shared.</summary>
    public int BlocksToGrow(SequenceCache cache, int tokens)
    {
        int missing = 0;
        foreach (ref readonly BlockTable table in cache.Tables.AsSpan())
            missing += table.BlocksMissing(tokens, Format.BlockSize) + (IsTailShared(table) ? 1 : 0);
        return missing;
    }

    /// <summary>Makes room for <paramref name="tokens"/> more slots in every group; afterwards the slots to be written belong to this sequence alone.</summary>
    /// <exception cref="InvalidOperationException">Fewer blocks are free than <see cref="BlocksToGrow"/> says.</exception>
    public void Grow(SequenceCache cache, int tokens)
    {
        foreach (ref BlockTable table in cache.Tables.AsSpan())
        {
            if (IsTailShared(table))
                CopyTail(ref table);
            for (int missing = table.BlocksMissing(tokens, Format.BlockSize); missing > 0; missing--)
                table.Append(Take());
        }

        if (ChecksWrites)
            AssertWritable(cache, tokens);
    }

    /// <summary>Gives back what <see cref="Grow"/> took for tokens that do not come after all.</summary>
    public void Trim(SequenceCache cache)
    {
        foreach (ref BlockTable table in cache.Tables.AsSpan())
        {
            int needed = (table.Length + Format.BlockSize - 1) / Format.BlockSize;
            for (int surplus = table.Count - 1; surplus >= needed; surplus--)
                Blocks.Release(table.Blocks[surplus]);
            table.Truncate(Math.Min(needed, table.Count));
        }
    }

    /// <summary>Takes one block, which nobody else holds and no prefix entry names.</summary>
    public int Take()
    {
        int block = Blocks.Take();
        if (Blocks.Entry(block) >= 0)
            Forget(Blocks.Entry(block));
        return block;
    }

    /// <summary>Takes one packed child, which nobody else holds; at most one block is taken for it.</summary>
    /// <returns>Its number; its entry is the complement.</returns>
    public int TakeChild()
    {
        if (!Blocks.HasSplit)
            Blocks.Split(Take());
        return Blocks.TakeChild();
    }

    /// <summary>The memory that an entry of a table names.</summary>
    public Tensor MemoryOf(int entry) => entry >= 0
        ? Memory.RowRange(entry, 1)
        : Memory.RowRange(~entry / Format.ChildrenPerBlock, 1).ColumnRange(~entry % Format.ChildrenPerBlock * Format.ChildBytes, Format.ChildBytes);

    /// <summary>Drops the prefix entry, if any, that names this block.</summary>
    public void Forget(int entry)
    {
        foreach (int block in _prefixes!.Blocks(entry))
            Blocks.ClearEntry(block);
        _prefixes.Remove(entry);
    }

    /// <summary>Shares the longest cached prefix with an empty sequence.</summary>
    /// <remarks>Under a mask only what the next token sees must be there: the sinks, and the window before it.</remarks>
    /// <param name="cache">Empty.</param>
    /// <param name="keys">Keys of the sequence's token blocks that may be taken from the cache.</param>
    /// <param name="mask">What a row of the sequence sees.</param>
    /// <param name="unit">Only as many blocks as are a multiple of this.</param>
    /// <returns>Tokens found, whole blocks.</returns>
    public int AttachPrefix(SequenceCache cache, ReadOnlySpan<UInt128> keys, KvMask mask = default, int unit = 1)
    {
        if (_prefixes is null)
            return 0;
        int sinkBlocks = (mask.Sinks + Format.BlockSize - 1) / Format.BlockSize, found = 0, run = 0;
        for (int block = 0; block < keys.Length; block++)
        {
            run = _prefixes.TryFind(keys[block], out _) ? run + 1 : 0;
            if (run == 0 && (mask.IsNone || block < sinkBlocks))
                break;
            if ((block + 1) % unit == 0 && run >= block + 1 - WindowStart(mask, sinkBlocks, block + 1))
                found = block + 1;
        }

        sinkBlocks = mask.IsNone ? 0 : Math.Min(sinkBlocks, found);
        int resume = Math.Max(sinkBlocks, WindowStart(mask, sinkBlocks, found));
        Attach(cache, keys[..sinkBlocks], 0);
        Attach(cache, keys[resume..found], resume);
        if (resume > sinkBlocks)
            cache.SkipBlocks(sinkBlocks, resume - sinkBlocks, mask.Sinks, Format.BlockSize);
        cache.OfferedBlocks = found;
        return found * Format.BlockSize;
    }

    /// <summary>First block behind the sinks that the token after <paramref name="blocks"/> blocks sees.</summary>
    private int WindowStart(KvMask mask, int sinkBlocks, int blocks) =>
        mask.IsNone ? 0 : Math.Max(sinkBlocks, (blocks * Format.BlockSize + 1 - mask.Window) / Format.BlockSize);

    private void Attach(SequenceCache cache, ReadOnlySpan<UInt128> keys, int firstBlock)
    {
        foreach (UInt128 key in keys)
        {
            _prefixes!.TryFind(key, out int entry);
            Span<int> blocks = _prefixes.Blocks(entry);
            for (int group = 0; group < blocks.Length; group++)
            {
                Blocks.AddReference(blocks[group]);
                cache.Tables[group].Append(blocks[group]);
            }
        }

        cache.Advance(firstBlock * Format.BlockSize, keys.Length * Format.BlockSize);
    }

    /// <summary>Offers the sequence's full blocks to later sequences; their content never changes again. Once a block was packed no more are offered.</summary>
    /// <param name="cache">Without a mask not compressed, otherwise nothing is offered: what a token says then depends on what was dropped before it.</param>
    /// <param name="keys">Keys of its token blocks, in order; blocks beyond its length are ignored.</param>
    /// <param name="mask">What a row of the sequence sees: a drop of what it hides changes nothing.</param>
    public void OfferPrefix(SequenceCache cache, ReadOnlySpan<UInt128> keys, KvMask mask = default)
    {
        if (_prefixes is null || cache.IsPacked || (cache.IsCompressed && mask.IsNone))
            return;
        ref readonly BlockTable first = ref cache.Tables[0];
        int full = Math.Min(keys.Length, first.Length / Format.BlockSize + first.HoleBlocks);
        for (; cache.OfferedBlocks < full; cache.OfferedBlocks++)
        {
            if (!IsWhole(cache, cache.OfferedBlocks) || !_prefixes.TryAdd(keys[cache.OfferedBlocks], out int entry))
                continue;
            Span<int> blocks = _prefixes.Blocks(entry);
            for (int group = 0; group < blocks.Length; group++)
            {
                blocks[group] = cache.Tables[group].Blocks[cache.Tables[group].IndexOf(cache.OfferedBlocks)];
                Blocks.SetEntry(blocks[group], entry);
            }
        }
    }

    /// <summary>An empty sequence shares everything its parent holds; whoever writes the partial last block first copies it.</summary>
    public void Fork(SequenceCache parent, SequenceCache child)
    {
        child.CopyFrom(parent);
        foreach (ref readonly BlockTable table in child.Tables.AsSpan())
            foreach (int block in table.Blocks)
                Blocks.AddReference(block);
    }

    /// <summary>Gives back all references. The deepest blocks go first, so that of a cached prefix the leaves are overwritten first.</summary>
    public void Release(SequenceCache cache)
    {
        int deepest = 0;
        foreach (ref readonly BlockTable table in cache.Tables.AsSpan())
            deepest = Math.Max(deepest, table.Count);
        for (int index = deepest - 1; index >= 0; index--)
            foreach (ref readonly BlockTable table in cache.Tables.AsSpan())
                if (index < table.Count)
                    Blocks.Release(table.Blocks[index]);
        cache.Clear();
    }

    /// <summary>Drops every cached prefix that no sequence holds.</summary>
    public void ResetPrefixes()
    {
        for (int block = 0; block < Blocks.Total && _prefixes is not null; block++)
            if (Blocks.References(block) == 0 && Blocks.Entry(block) >= 0)
                Forget(Blocks.Entry(block));
    }

    /// <summary>Full blocks of the sequence that others hold too: what a compression may have to copy before it writes.</summary>
    public int SharedBlocks(SequenceCache cache)
    {
        // Asked in every step, and a walk over all tables: again only after somebody began or ceased to share a block.
        if (cache.Shared.AsOf == Blocks.Sharings)
            return cache.Shared.Blocks;
        int shared = 0;
        foreach (ref readonly BlockTable table in cache.Tables.AsSpan())
            foreach (int block in table.Blocks)
                shared += block >= 0 && Blocks.References(block) > 1 ? 1 : 0;
        cache.Shared = (shared, Blocks.Sharings);
        return shared;
    }

    /// <summary>Copies slots inside the pool, in order.</summary>
    public void MoveSlots(List<SlotMove> moves)
    {
        for (int i = 0; i < moves.Count && ChecksWrites; i++)
            AssertWritable(moves[i].To / Format.BlockSize);
        if (moves.Count > 0)
            _backend.MoveSlots(CollectionsMarshal.AsSpan(moves), Memory, Format);
    }

    /// <summary>Quantises full blocks into children.</summary>
    public void PackBlocks(List<BlockPack> packs)
    {
        for (int i = 0; i < packs.Count && ChecksWrites; i++)
            if (Blocks.References(~packs[i].Child) != 1)
                throw new InvalidOperationException($"Child {packs[i].Child} is packed with {Blocks.References(~packs[i].Child)} references.");
        _backend.PackBlocks(CollectionsMarshal.AsSpan(packs), Memory, Format);
    }

    /// <summary>Checks the invariants of the pool against the tables of all living sequences.</summary>
    /// <exception cref="InvalidOperationException">One is broken.</exception>
    public void AssertConsistent(IEnumerable<SequenceCache> sequences)
    {
        int[] occurrences = new int[Blocks.Total], children = new int[Blocks.Total * Format.ChildrenPerBlock];
        foreach (SequenceCache cache in sequences)
        {
            foreach (BlockTable table in cache.Tables)
            {
                foreach (int block in table.Blocks)
                    (block < 0 ? ref children[~block] : ref occurrences[block])++;
                if (table.Length > table.Count * Format.BlockSize || table.GapStart + table.GapLength > table.Length)
                    throw new InvalidOperationException($"{table.Length} slots with a gap of {table.GapLength} do not fit {table.Count} blocks.");
            }

            cache.AssertPositions();
        }

        Blocks.AssertConsistent(occurrences, children);
    }

    /// <summary>Checks that the slots of a sequence's next tokens belong to it alone.</summary>
    /// <exception cref="InvalidOperationException">One does not, or there is none.</exception>
    public void AssertWritable(SequenceCache cache, int tokens)
    {
        foreach (BlockTable table in cache.Tables)
        {
            if (table.BlocksMissing(tokens, Format.BlockSize) > 0)
                throw new InvalidOperationException($"{table.Count} blocks have no room for {tokens} tokens behind {table.Length}.");
            for (int index = table.Length / Format.BlockSize; index * Format.BlockSize < table.Length + tokens; index++)
                AssertWritable(table.Blocks[index]);
        }
    }

    private void AssertWritable(int block)
    {
        if (!Blocks.IsWritable(block))
            throw new InvalidOperationException($"Block {block} is written with {Blocks.References(block)} references and prefix entry {Blocks.Entry(block)}.");
    }

    /// <summary>No group has taken that token block out.</summary>
    private static bool IsWhole(SequenceCache cache, int tokenBlock)
    {
        foreach (ref readonly BlockTable table in cache.Tables.AsSpan())
            if (table.IndexOf(tokenBlock) < 0)
                return false;
        return true;
    }

    private bool IsTailShared(in BlockTable table)
    {
        int room = table.Count * Format.BlockSize - table.Length;
        if (room <= 0 || room == Format.BlockSize)
            return false;
        int last = room < Format.BlockSize ? table.Count - 1 : table.Length / Format.BlockSize;
        return table.Length > last * Format.BlockSize && !Blocks.IsWritable(table.Blocks[last]);
    }

    private void CopyTail(ref BlockTable table)
    {
        int index = table.Length / Format.BlockSize, shared = table.Blocks[index], copy = Take();
        _moves.Clear();
        for (int slot = 0; slot < table.Length % Format.BlockSize; slot++)
            _moves.Add(new SlotMove(shared * Format.BlockSize + slot, copy * Format.BlockSize + slot));
        MoveSlots(_moves);
        table.Replace(index, copy);
        Blocks.Release(shared);
    }
}
