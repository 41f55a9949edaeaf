namespace InferenceService.Engine.Cache.Policies;

/// <summary>A selector's answer: per group either everything, or a list of surviving slots.</summary>
/// <remarks>Reused between calls; slots are given in ascending order, each below the group's length.</remarks>
public sealed class KeepSet
{
    private readonly List<int>?[] _slots;
    private readonly List<int>[] _lists;

    /// <summary>Room for <paramref name="groups"/> groups, all kept whole.</summary>
    public KeepSet(int groups)
    {
        _slots = new List<int>?[groups];
        _lists = new List<int>[groups];
        for (int g = 0; g < groups; g++)
            _lists[g] = [];
    }

    /// <summary>Groups of the sequence.</summary>
    public int Groups => _slots.Length;

    /// <summary>Keeps only what is added after this call.</summary>
    public void Restrict(int group)
    {
        _lists[group].Clear();
        _slots[group] = _lists[group];
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

    /// <summary>Null: the group is kept whole. Otherwise its survivors in ascending order.</summary>
    public IReadOnlyList<int>? Survivors(int group) => _slots[group];

    /// <summary>Keeps everything again.</summary>
    public void Clear() => Array.Clear(_slots);
}
