namespace InferenceService.Engine.Cache;

/// <summary>Cached token blocks by key. An entry names one physical block per group; all of them hold the same tokens.</summary>
/// <remarks>Sized for a whole pool at the start; nothing allocates afterwards. Engine thread only.</remarks>
internal sealed class PrefixIndex
{
    private readonly Dictionary<UInt128, int> _entries;
    private readonly UInt128[] _keys;
    private readonly int[] _blocks;
    private readonly int[] _unused;
    private readonly int _groups;
    private int _unusedCount;

    /// <summary>Room for every block of a pool.</summary>
    /// <param name="groups">Physical blocks of one entry.</param>
    /// <param name="poolBlocks">Blocks of the pool; a block belongs to one entry at most.</param>
    public PrefixIndex(int groups, int poolBlocks)
    {
        int capacity = poolBlocks / groups;
        _groups = groups;
        _entries = new Dictionary<UInt128, int>(capacity);
        _keys = new UInt128[capacity];
        _blocks = new int[capacity * groups];
        _unused = new int[capacity];
        for (_unusedCount = 0; _unusedCount < capacity; _unusedCount++)
            _unused[_unusedCount] = _unusedCount;
    }

    /// <summary>Entries in use.</summary>
    public int Count => _entries.Count;

    /// <summary>The entry of that key; false when its content is not cached.</summary>
    public bool TryFind(UInt128 key, out int entry) => _entries.TryGetValue(key, out entry);

    /// <summary>Makes an entry; the caller fills <see cref="Blocks"/>. False when the key is known or no entry is left.</summary>
    public bool TryAdd(UInt128 key, out int entry)
    {
        entry = -1;
        if (_unusedCount == 0 || _entries.ContainsKey(key))
            return false;
        entry = _unused[--_unusedCount];
        _entries.Add(key, entry);
        _keys[entry] = key;
        return true;
    }

    /// <summary>[groups] the entry's physical blocks.</summary>
    public Span<int> Blocks(int entry) => _blocks.AsSpan(entry * _groups, _groups);

    /// <summary>Forgets an entry.</summary>
    public void Remove(int entry)
    {
        _entries.Remove(_keys[entry]);
        _unused[_unusedCount++] = entry;
    }
}
