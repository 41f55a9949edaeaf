namespace InferenceService.Text.Templates.Values;

/// <summary>A dict in order of insertion. <see cref="Entries"/> is filled by whoever makes it and not changed afterwards.</summary>
internal sealed class DictValue : Value
{
    public OrderedDictionary<Value, Value> Entries { get; } = new(KeyComparer.Instance);

    internal override string TypeName => "dict";

    internal override bool IsTrue => Entries.Count > 0;

    /// <summary>The value of a key, or null.</summary>
    /// <exception cref="TemplateException">The key is none that a dict can have.</exception>
    public Value? Find(Value key, Budget budget) => Entries.GetValueOrDefault(KeyComparer.Check(key, budget));

    /// <summary>Adds or replaces an entry while the dict is made.</summary>
    public void Set(Value key, Value value, Budget budget)
    {
        budget.Spend();
        Entries[KeyComparer.Check(key, budget)] = value;
    }

    public static Value Pair(KeyValuePair<Value, Value> entry) => new TupleValue([entry.Key, entry.Value]);
}

internal enum DictViewKind
{
    Keys,
    Values,
    Items,
}

/// <summary>What <c>keys()</c>, <c>values()</c> and <c>items()</c> of a dict return.</summary>
internal sealed class DictViewValue(DictValue dict, DictViewKind kind) : Value
{
    public DictValue Source { get; } = dict;

    public DictViewKind Kind { get; } = kind;

    internal override string TypeName => Kind switch
    {
        DictViewKind.Keys => "dict_keys",
        DictViewKind.Values => "dict_values",
        _ => "dict_items",
    };

    internal override bool IsTrue => Source.IsTrue;

    public Value Item(int index)
    {
        KeyValuePair<Value, Value> entry = Source.Entries.GetAt(index);
        return Kind switch
        {
            DictViewKind.Keys => entry.Key,
            DictViewKind.Values => entry.Value,
            _ => DictValue.Pair(entry),
        };
    }
}
