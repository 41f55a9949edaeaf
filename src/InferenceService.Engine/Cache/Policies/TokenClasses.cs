namespace InferenceService.Engine.Cache.Policies;

/// <summary>Kinds of token ids that a policy may treat alike; derived from their texts by whoever knows them. Immutable.</summary>
public sealed class TokenClasses
{
    private const byte Special = 1;
    private const byte Punctuation = 2;

    private readonly byte[] _classes;

    /// <summary>States the classes; ids outside both are ordinary.</summary>
    /// <param name="special">Ids that never stand for text: beginning, end, instruction marks.</param>
    /// <param name="punctuation">Ids whose text is punctuation only.</param>
    public TokenClasses(ReadOnlySpan<int> special, ReadOnlySpan<int> punctuation)
    {
        int most = -1;
        foreach (int id in special)
            most = Math.Max(most, id);
        foreach (int id in punctuation)
            most = Math.Max(most, id);
        _classes = new byte[most + 1];
        foreach (int id in punctuation)
            _classes[id] = Punctuation;
        foreach (int id in special)
            _classes[id] = Special;
    }

    /// <summary>All ids are ordinary.</summary>
    public static TokenClasses None { get; } = new([], []);

    /// <summary>The id never stands for text.</summary>
    public bool IsSpecial(int id) => (uint)id < (uint)_classes.Length && _classes[id] == Special;

    /// <summary>The id's text is punctuation only.</summary>
    public bool IsPunctuation(int id) => (uint)id < (uint)_classes.Length && _classes[id] == Punctuation;
}
