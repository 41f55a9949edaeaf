namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Remembers the ids of short words. Fixed size, two places for each word, no locks: an entry is immutable and published by one
/// reference write.</summary>
internal sealed class WordCache
{
    private const int Slots = 1 << 16;
    private const int MaxLength = 48;

    private readonly Entry?[] _entries = new Entry?[Slots];

    private sealed class Entry(string word, int[] ids)
    {
        public string Word { get; } = word;

        public int[] Ids { get; } = ids;
    }

    public static bool Takes(ReadOnlySpan<char> word) => word.Length <= MaxLength;

    /// <summary>Appends the ids of a word seen before; false when it is not remembered.</summary>
    public bool TryAppend(ReadOnlySpan<char> word, int slot, List<int> ids)
    {
        Entry? entry = Volatile.Read(ref _entries[slot]);
        if (entry is null)
            return false;
        if (!word.SequenceEqual(entry.Word))
        {
            entry = Volatile.Read(ref _entries[slot ^ 1]);
            if (entry is null || !word.SequenceEqual(entry.Word))
                return false;
        }

        ids.AddRange(entry.Ids.AsSpan());
        return true;
    }

    public static int SlotOf(ReadOnlySpan<char> word) => string.GetHashCode(word) & (Slots - 1);

    /// <summary>The word before it in its place moves to the second place.</summary>
    public void Remember(ReadOnlySpan<char> word, int slot, int[] ids)
    {
        if (Volatile.Read(ref _entries[slot]) is { } earlier)
            Volatile.Write(ref _entries[slot ^ 1], earlier);
        Volatile.Write(ref _entries[slot], new Entry(word.ToString(), ids));
    }
}
