using System.Numerics;

namespace InferenceService.Engine.Sampling;

/// <summary>Which tokens a sequence has seen: how often each was generated, and whether it is known at all. Sparse, never the size of a vocabulary.</summary>
/// <remarks>An open-addressing table; it grows by doubling and otherwise allocates nothing.</remarks>
internal sealed class TokenCounts
{
    private const int Empty = -1;

    private int[] _ids;
    private int[] _generated;

    /// <summary>An empty table with room for <paramref name="expected"/> distinct tokens.</summary>
    public TokenCounts(int expected)
    {
        int capacity = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, 2 * expected));
        (_ids, _generated) = (new int[capacity], new int[capacity]);
        Array.Fill(_ids, Empty);
    }

    /// <summary>Distinct tokens.</summary>
    public int Count { get; private set; }

    /// <summary>Slots of the table: for a loop over all entries with <see cref="Entry"/>.</summary>
    public int Capacity => _ids.Length;

    /// <summary>One slot: token id (−1 = unused) and how often it was generated.</summary>
    public (int Id, int Generated) Entry(int slot) => (_ids[slot], _generated[slot]);

    /// <summary>Notes a prompt token.</summary>
    public void AddPrompt(int id) => Find(id);

    /// <summary>Notes a generated token.</summary>
    public void AddGenerated(int id) => _generated[Find(id)]++;

    private int Find(int id)
    {
        int mask = _ids.Length - 1;
        int slot = (int)((uint)id * 0x9E3779B1u) & mask;
        while (_ids[slot] != id)
        {
            if (_ids[slot] == Empty)
            {
                if (2 * (Count + 1) > _ids.Length)
                {
                    Grow();
                    return Find(id);
                }

                _ids[slot] = id;
                Count++;
                return slot;
            }

            slot = (slot + 1) & mask;
        }

        return slot;
    }

    private void Grow()
    {
        (int[] ids, int[] generated) = (_ids, _generated);
        (_ids, _generated, Count) = (new int[2 * ids.Length], new int[2 * ids.Length], 0);
        Array.Fill(_ids, Empty);
        for (int slot = 0; slot < ids.Length; slot++)
            if (ids[slot] != Empty)
                _generated[Find(ids[slot])] = generated[slot];
    }
}
