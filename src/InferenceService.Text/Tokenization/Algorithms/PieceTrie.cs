using System.Numerics;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>All tokens of a vocabulary as a trie over UTF-16 units: one hash table from (node, unit) to node.</summary>
internal sealed class PieceTrie
{
    public const int Root = 0;
    public const int NoNode = -1;

    private readonly List<int> _tokens = [-1];
    private ulong[] _keys;
    private int[] _children;
    private int _shift;

    public PieceTrie(int tokens)
    {
        int bits = Math.Max(8, 64 - BitOperations.LeadingZeroCount((ulong)tokens * 4));
        (_keys, _children, _shift) = (new ulong[1 << bits], new int[1 << bits], 64 - bits);
    }

    public void Add(string token, int id)
    {
        int node = Root;
        foreach (char unit in token)
            node = Child(node, unit) is int child and not NoNode ? child : AddChild(node, unit);
        _tokens[node] = id;
    }

    /// <summary>The node one unit further, or <see cref="NoNode"/>.</summary>
    public int Child(int node, char unit)
    {
        ulong key = Key(node, unit);
        for (int at = Home(key); ; at = (at + 1) & (_keys.Length - 1))
        {
            if (_keys[at] == key)
                return _children[at];
            if (_keys[at] == 0)
                return NoNode;
        }
    }

    /// <summary>The id of the token that ends at a node, or -1.</summary>
    public int TokenAt(int node) => _tokens[node];

    private int AddChild(int node, char unit)
    {
        if (_tokens.Count * 2 > _keys.Length)
            Grow();
        int child = _tokens.Count;
        _tokens.Add(-1);
        Put(Key(node, unit), child);
        return child;
    }

    private void Put(ulong key, int child)
    {
        int at = Home(key);
        while (_keys[at] != 0)
            at = (at + 1) & (_keys.Length - 1);
        (_keys[at], _children[at]) = (key, child);
    }

    private void Grow()
    {
        (ulong[] keys, int[] children) = (_keys, _children);
        (_keys, _children, _shift) = (new ulong[keys.Length * 2], new int[keys.Length * 2], _shift - 1);
        for (int i = 0; i < keys.Length; i++)
        {
            if (keys[i] != 0)
                Put(keys[i], children[i]);
        }
    }

    /// <summary>Never 0, which marks a free place.</summary>
    private static ulong Key(int node, char unit) => (((ulong)node + 1) << 16) | unit;

    private int Home(ulong key) => (int)((key * 0x9E37_79B9_7F4A_7C15) >> _shift);
}
