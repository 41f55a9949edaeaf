using System.Numerics;

namespace InferenceService.Engine.Cache;

/// <summary>Who holds each block of the pool: reference counts, and one list of all unreferenced blocks.</summary>
/// <remarks>
/// An entry names a holding: e ≥ 0 is block e, e &lt; 0 is packed child ~e. A block is split into children when one is wanted and no split
/// block has one left, and goes back to the list with its last child; children come from blocks that are split already, so that few are.
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
    private readonly int[] _childReferences;
    private readonly uint[] _taken; // [blocks] bit i: child i has a reference; not 0 = the block is split
    private readonly int[] _nextSplit; // ring of split blocks that have children left
    private readonly int[] _previousSplit;
    private readonly int _childrenPerBlock;
    private readonly BlockAges? _ages;

    /// <summary>A pool of <paramref name="blocks"/> unreferenced blocks.</summary>
    /// <param name="blocks">Blocks of the pool.</param>
    /// <param name="childrenPerBlock">Packed children of a block; 0 = blocks are never split.</param>
    /// <param name="ages">Told when a block is taken, released, found again and given up; null = nobody asks.</param>
    public BlockPool(int blocks, int childrenPerBlock = 0, BlockAges? ages = null)
    {
        _ages = ages;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(childrenPerBlock, 31);
        _childrenPerBlock = childrenPerBlock;
        int parents = childrenPerBlock == 0 ? 0 : blocks;
        _childReferences = new int[parents * childrenPerBlock];
        _taken = new uint[parents];
        (_nextSplit, _previousSplit) = (new int[parents + 1], new int[parents + 1]);
        (_nextSplit[parents], _previousSplit[parents]) = (parents, parents);
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

    /// <summary>How often a block became shared, or lost one of its sharers: while this stands still, so does who shares what.</summary>
    public long Sharings { get; private set; }

    /// <summary>Packed children with at least one reference.</summary>
    public int Children { get; private set; }

    /// <summary>A split block has a child left, so that <see cref="TakeChild"/> needs no other.</summary>
    public bool HasSplit => _nextSplit[^1] != _taken.Length;

    /// <summary>References of an entry.</summary>
    public int References(int entry) => entry < 0 ? _childReferences[~entry] : _references[entry];

    /// <summary>Prefix entry whose content the block holds; −1 = none, and for a child.</summary>
    public int Entry(int block) => block < 0 ? NoEntry : _entries[block];

    /// <summary>True when the block may be written: no child, one reference, and no prefix entry names it.</summary>
    public bool IsWritable(int block) => block >= 0 && _references[block] == 1 && _entries[block] == NoEntry;

    /// <summary>Takes the block at the front of the list; it gets one reference. The caller drops the prefix entry it may still carry.</summary>
    /// <exception cref="InvalidOperationException">No block is free.</exception>
    public int Take()
    {
        int block = _next[Total];
        if (block == Total)
            throw new InvalidOperationException("The block pool is empty.");
        Unlink(block);
        if (_entries[block] != NoEntry)
            _ages?.Evicted(block);
        _ages?.Taken(block);
        _references[block] = 1;
        return block;
    }

    /// <summary>Splits a block that the caller has taken and gives up.</summary>
    public void Split(int block) => LinkSplit(block);

    /// <summary>Takes a child of a split block; it gets one reference.</summary>
    /// <returns>Its number; its entry is the complement.</returns>
    /// <exception cref="InvalidOperationException">No split block has a child left.</exception>
    public int TakeChild()
    {
        if (!HasSplit)
            throw new InvalidOperationException("No split block has a child left.");
        int parent = _nextSplit[^1], child = BitOperations.TrailingZeroCount(~_taken[parent]);
        _taken[parent] |= 1u << child;
        if (IsFull(parent))
            UnlinkSplit(parent);
        child += parent * _childrenPerBlock;
        _childReferences[child] = 1;
        Children++;
        return child;
    }

    /// <summary>Adds a reference; an unreferenced cached block leaves the list.</summary>
    public void AddReference(int block)
    {
        if (block < 0)
        {
            _childReferences[~block]++;
            return;
        }

        if (_references[block] == 0)
        {
            Unlink(block);
            _ages?.Reused(block);
        }
        else
        {
            Sharings++;
        }

        _references[block]++;
    }

    /// <summary>Drops a reference; the last one puts the block back on the list.</summary>
    /// <exception cref="InvalidOperationException">The block has no reference.</exception>
    public void Release(int block)
    {
        if (block < 0)
        {
            ReleaseChild(~block);
            return;
        }

        if (_references[block] <= 0)
            throw new InvalidOperationException($"Block {block} is released without a reference.");
        if (--_references[block] > 0)
        {
            Sharings++;
            return;
        }

        Link(block);
        _ages?.Released(block);
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
        {
            Unlink(block);
            _ages?.Evicted(block);
        }

        _entries[block] = NoEntry;
        if (listed)
            Link(block);
    }

    /// <summary>Checks the list against the counts and that occurrences in all tables equal the references.</summary>
    /// <param name="occurrences">[blocks] how often each block stands in a table.</param>
    /// <param name="childOccurrences">[blocks × children] how often each child does; empty where blocks are never split.</param>
    /// <exception cref="InvalidOperationException">An invariant is broken.</exception>
    public void AssertConsistent(ReadOnlySpan<int> occurrences, ReadOnlySpan<int> childOccurrences = default)
    {
        AssertChildren(childOccurrences);
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
            if (_references[block] != occurrences[block] + (IsSplit(block) ? 1 : 0))
                throw new InvalidOperationException($"Block {block} has {_references[block]} references and stands in {occurrences[block]} tables.");
        }

        if (free != Free || cached != Cached || used + free != Total)
            throw new InvalidOperationException($"{used} used + {free} listed of {Total} blocks; counted {Free} free, {Cached} against {cached} cached.");
    }

    private void AssertChildren(ReadOnlySpan<int> occurrences)
    {
        int held = 0, left = 0, listed = 0;
        for (int child = 0; child < _childReferences.Length; child++)
        {
            held += _childReferences[child] > 0 ? 1 : 0;
            bool taken = (_taken[child / _childrenPerBlock] & (1u << (child % _childrenPerBlock))) != 0;
            if (_childReferences[child] != occurrences[child] || taken != _childReferences[child] > 0)
                throw new InvalidOperationException($"Child {child} has {_childReferences[child]} references and stands in {occurrences[child]} tables.");
        }

        for (int block = 0; block < _taken.Length; block++)
            left += IsSplit(block) && !IsFull(block) ? 1 : 0;
        for (int block = _nextSplit[^1]; block != _taken.Length && listed <= _taken.Length; block = _nextSplit[block])
            listed++;
        if (held != Children || left != listed)
            throw new InvalidOperationException($"{held} children held, {Children} counted; {left} split blocks with children left, {listed} listed.");
    }

    private bool IsSplit(int block) => _taken.Length > 0 && _taken[block] != 0;

    private bool IsFull(int block) => _taken[block] == (1u << _childrenPerBlock) - 1;

    private void ReleaseChild(int child)
    {
        if (_childReferences[child] <= 0)
            throw new InvalidOperationException($"Child {child} is released without a reference.");
        if (--_childReferences[child] > 0)
            return;
        int parent = child / _childrenPerBlock;
        if (IsFull(parent))
            LinkSplit(parent);
        _taken[parent] &= ~(1u << (child % _childrenPerBlock));
        Children--;
        if (_taken[parent] != 0)
            return;
        UnlinkSplit(parent);
        Release(parent);
    }

    private void LinkSplit(int block)
    {
        int first = _nextSplit[^1];
        (_nextSplit[^1], _previousSplit[block], _nextSplit[block], _previousSplit[first]) = (block, _taken.Length, first, block);
    }

    private void UnlinkSplit(int block) =>
        (_nextSplit[_previousSplit[block]], _previousSplit[_nextSplit[block]]) = (_nextSplit[block], _previousSplit[block]);

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
