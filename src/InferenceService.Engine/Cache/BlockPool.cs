namespace InferenceService.Engine.Cache;

/// <summary>Who holds each block of the pool: reference counts, and one list of all unreferenced blocks.</summary>
/// <remarks>
/// The list is a ring through arrays, so every operation is O(1) and allocates nothing. Blocks that hold nothing stand at its
/// front; blocks that still hold a cached prefix stand behind them in the order of release, so the least recently used prefix is
/// the first to be overwritten. Engine thread only.
/// </remarks>
internal sealed class BlockPool
{
    private const int NoEntry = -1;

    private readonly int[] _references;
    private readonly int[] _entries;
    private readonly int[] _next;
    private readonly int[] _previous;

    /// <summary>A pool of <paramref name="blocks"/> unreferenced blocks.</summary>
    public BlockPool(int blocks)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        Total = blocks;
        Free = blocks;
        _references = new int[blocks];
        _entries = new int[blocks];
        _next = new int[blocks + 1];
        _previous = new int[blocks + 1];
        Array.Fill(_entries, NoEntry);
        for (int block = 0; block <= blocks; block++)
        {
            _next[block] = block == blocks ? 0 : block + 1;
            _previous[block] = block == 0 ? blocks : block - 1;
        }
    }

    /// <summary>Blocks of the pool.</summary>
    public int Total { get; }

    /// <summary>Blocks without a reference, cached ones included: what <see cref="Take"/> can give.</summary>
    public int Free { get; private set; }

    /// <summary>Blocks without a reference that still hold a cached prefix.</summary>
    public int Cached { get; private set; }

    /// <summary>Blocks with at least one reference.</summary>
    public int Used => Total - Free;

    /// <summary>References of a block.</summary>
    public int References(int block) => _references[block];

    /// <summary>Prefix entry whose content the block holds; −1 = none.</summary>
    public int Entry(int block) => _entries[block];

    /// <summary>True when the block may be written: one reference, and no prefix entry names it.</summary>
    public bool IsWritable(int block) => _references[block] == 1 && _entries[block] == NoEntry;

    /// <summary>Takes the block at the front of the list; it gets one reference. The caller drops the prefix entry it may still carry.</summary>
    /// <exception cref="InvalidOperationException">No block is free.</exception>
    public int Take()
    {
        int block = _next[Total];
        if (block == Total)
            throw new InvalidOperationException("The block pool is empty.");
        Unlink(block);
        _references[block] = 1;
        return block;
    }

    /// <summary>Adds a reference; an unreferenced cached block leaves the list.</summary>
    public void AddReference(int block)
    {
        if (_references[block] == 0)
            Unlink(block);
        _references[block]++;
    }

    /// <summary>Drops a reference; the last one puts the block back on the list.</summary>
    /// <exception cref="InvalidOperationException">The block has no reference.</exception>
    public void Release(int block)
    {
        if (_references[block] <= 0)
            throw new InvalidOperationException($"Block {block} is released without a reference.");
        if (--_references[block] == 0)
            Link(block);
    }

    /// <summary>States that the block, which has a reference, holds the content of a prefix entry.</summary>
    public void SetEntry(int block, int entry) => _entries[block] = entry;

    /// <summary>The block's content is no longer a cached prefix; unreferenced, it moves to the front of the list.</summary>
    public void ClearEntry(int block)
    {
        if (_entries[block] == NoEntry)
            return;
        bool listed = _references[block] == 0;
        if (listed)
            Unlink(block);
        _entries[block] = NoEntry;
        if (listed)
            Link(block);
    }

    /// <summary>Checks the list against the counts and that occurrences in all tables equal the references.</summary>
    /// <param name="occurrences">[blocks] how often each block stands in a table.</param>
    /// <exception cref="InvalidOperationException">An invariant is broken.</exception>
    public void AssertConsistent(ReadOnlySpan<int> occurrences)
    {
        int free = 0, cached = 0;
        for (int block = _next[Total]; block != Total && free <= Total; block = _next[block])
        {
            free++;
            cached += _entries[block] != NoEntry ? 1 : 0;
            if (_references[block] != 0)
                throw new InvalidOperationException($"Block {block} is listed as free with {_references[block]} references.");
            if (_previous[_next[block]] != block)
                throw new InvalidOperationException($"The free list is broken at block {block}.");
        }

        int used = 0;
        for (int block = 0; block < Total; block++)
        {
            used += _references[block] > 0 ? 1 : 0;
            if (_references[block] != occurrences[block])
                throw new InvalidOperationException($"Block {block} has {_references[block]} references and stands in {occurrences[block]} tables.");
        }

        if (free != Free || cached != Cached || used + free != Total)
            throw new InvalidOperationException($"{used} used + {free} listed of {Total} blocks; counted {Free} free, {Cached} against {cached} cached.");
    }

    private void Link(int block)
    {
        bool cached = _entries[block] != NoEntry;
        int after = cached ? _previous[Total] : Total;
        int before = _next[after];
        (_next[after], _previous[block], _next[block], _previous[before]) = (block, after, before, block);
        Free++;
        Cached += cached ? 1 : 0;
    }

    private void Unlink(int block)
    {
        (_next[_previous[block]], _previous[_next[block]]) = (_next[block], _previous[block]);
        Free--;
        Cached -= _entries[block] != NoEntry ? 1 : 0;
    }
}
