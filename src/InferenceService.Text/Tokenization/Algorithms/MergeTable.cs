using System.Numerics;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>The merges of a BPE: a pair of ids to its rank and the merged id. An open-addressing table, because this look-up is the
/// inner loop of encoding.</summary>
internal sealed class MergeTable
{
    public const int NoRank = int.MaxValue;

    private readonly Slot[] _slots;
    private readonly int _shift;

    private struct Slot
    {
        public ulong Key;
        public int Rank;
        public int Merged;
    }

    public MergeTable(int capacity)
    {
        int bits = Math.Max(4, 64 - BitOperations.LeadingZeroCount(((ulong)capacity * 3 / 2) + 1));
        _slots = new Slot[1 << bits];
        Array.Fill(_slots, new Slot { Rank = NoRank });
        _shift = 64 - bits;
    }

    /// <summary>Adds a merge; one that is there already gets the new rank.</summary>
    public void Add(int left, int right, int rank, int merged)
    {
        ulong key = Key(left, right);
        int at = Home(key);
        while (_slots[at].Rank != NoRank && _slots[at].Key != key)
            at = (at + 1) & (_slots.Length - 1);
        _slots[at] = new Slot { Key = key, Rank = rank, Merged = merged };
    }

    /// <summary>The pair's rank, lower merging first, or <see cref="NoRank"/>.</summary>
    public int Find(int left, int right, out int merged)
    {
        ulong key = Key(left, right);
        for (int at = Home(key); ; at = (at + 1) & (_slots.Length - 1))
        {
            ref readonly Slot slot = ref _slots[at];
            if (slot.Rank == NoRank || slot.Key == key)
            {
                merged = slot.Merged;
                return slot.Rank;
            }
        }
    }

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private int Home(ulong key) => (int)((key * 0x9E37_79B9_7F4A_7C15) >> _shift);
}
