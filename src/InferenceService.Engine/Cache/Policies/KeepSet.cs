using System.Runtime.InteropServices;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>A selector's answer: per group everything, all but one range (nothing moves), all but one slot, or a list of survivors (gathered).</summary>
/// <remarks>Reused between calls; slots are given in ascending order, each below the group's length.</remarks>
public sealed class KeepSet
{
    private readonly List<int>?[] _slots;
    private readonly List<int>[] _lists;
    private readonly (int Start, int End)[] _dropped;
    private readonly int[] _evicted;

    /// <summary>Room for <paramref name="groups"/> groups, all kept whole.</summary>
    public KeepSet(int groups)
    {
        _slots = new List<int>?[groups];
        _lists = new List<int>[groups];
        _dropped = new (int, int)[groups];
        _evicted = new int[groups];
        Array.Fill(_evicted, -1);
        for (int g = 0; g < groups; g++)
            _lists[g] = [];
    }

    /// <summary>Groups of the sequence.</summary>
    public int Groups => _slots.Length;

    /// <summary>
    /// Drops slots [<paramref name="start"/>, <paramref name="end"/>) and keeps the rest: whole blocks inside are freed, the others
    /// are masked, nothing moves. The range joins the group's gap: it must touch or cover what was dropped this way before.
    /// </summary>
    public void Drop(int group, int start, int end)
    {
        (_slots[group], _evicted[group]) = (null, -1);
        _dropped[group] = (start, end);
    }

    /// <summary>Drops one slot, whose place the last slot takes: what a full budget does in every step. The group must have no gap.</summary>
    public void Evict(int group, int slot)
    {
        _slots[group] = null;
        _dropped[group] = default;
        _evicted[group] = slot;
    }

    /// <summary>Keeps only what is added after this call; survivors are gathered, so slots change their places.</summary>
    public void Restrict(int group)
    {
        _lists[group].Clear();
        _slots[group] = _lists[group];
        _dropped[group] = default;
        _evicted[group] = -1;
    }

    /// <summary>Keeps one slot of a restricted group; slots in ascending order.</summary>
    /// <exception cref="InvalidOperationException">The group is not restricted, or the slot does not ascend.</exception>
    public void Keep(int group, int slot)
    {
        List<int> slots = _slots[group] ?? throw new InvalidOperationException($"Group {group} is kept whole.");
        if (slots.Count > 0 && slots[^1] >= slot)
            throw new InvalidOperationException($"Slot {slot} of group {group} does not ascend.");
        slots.Add(slot);
    }

    /// <summary>Null: the group is not restricted. Otherwise its survivors in ascending order.</summary>
    public IReadOnlyList<int>? Survivors(int group) => _slots[group];

    /// <summary>Range that <see cref="Drop"/> named; empty when it named none.</summary>
    public (int Start, int End) Dropped(int group) => _dropped[group];

    /// <summary>Slot that <see cref="Evict"/> named; −1 when it named none.</summary>
    public int Evicted(int group) => _evicted[group];

    /// <summary>Keeps everything again.</summary>
    public void Clear()
    {
        Array.Clear(_slots);
        Array.Clear(_dropped);
        Array.Fill(_evicted, -1);
    }

    /// <summary>Survivors of a restricted group, without a copy.</summary>
    internal ReadOnlySpan<int> SurvivorSpan(int group) => CollectionsMarshal.AsSpan(_slots[group]);
}
