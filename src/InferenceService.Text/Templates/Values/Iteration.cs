namespace InferenceService.Text.Templates.Values;

/// <summary>Python's <c>iter</c>, <c>len</c> and <c>list</c>. Every visited item costs a step.</summary>
internal static class Iteration
{
    public static IEnumerator<Value> Iterate(Value value, Budget budget) =>
        TryIterate(value, budget) ?? throw new TemplateException($"'{value.TypeName}' object is not iterable");

    /// <summary>The items, or null if the value cannot be walked.</summary>
    public static IEnumerator<Value>? TryIterate(Value value, Budget budget) => value switch
    {
        SequenceValue sequence => Items(sequence.Items, budget),
        StringValue text => Characters(text, budget),
        DictValue dict => Keys(dict, budget),
        DictViewValue view => View(view, budget),
        RangeValue range => Numbers(range, budget),
        IteratorValue iterator => Rest(iterator, budget),
        LoopValue loop => Rounds(loop, budget),
        UndefinedValue => Items([], budget),
        _ => null,
    };

    public static bool IsIterable(Value value) =>
        value is SequenceValue or StringValue or DictValue or DictViewValue or RangeValue or IteratorValue or UndefinedValue or LoopValue;

    /// <summary>Python's <c>len</c>, or null for what has none.</summary>
    public static long? LengthOf(Value value) => value switch
    {
        SequenceValue sequence => sequence.Items.Length,
        StringValue text => text.Length,
        DictValue dict => dict.Entries.Count,
        DictViewValue view => view.Source.Entries.Count,
        RangeValue range => range.Length,
        LoopValue loop => loop.Length,
        UndefinedValue => 0,
        _ => null,
    };

    /// <summary>All items; an array that the caller may keep but not change.</summary>
    public static Value[] ToArray(Value value, Budget budget)
    {
        if (value is SequenceValue sequence)
            return sequence.Items;
        List<Value> items = [];
        IEnumerator<Value> walk = Iterate(value, budget);
        while (walk.MoveNext())
            items.Add(walk.Current);
        return [.. items];
    }

    /// <summary>The items last to first, or null for what Python's <c>reversed</c> refuses.</summary>
    public static IEnumerator<Value>? TryReverse(Value value, Budget budget)
    {
        if (value is IteratorValue or LoopValue || !IsIterable(value))
            return null;
        Value[] items = ToArray(value, budget);
        return Backwards(items, budget);
    }

    private static IEnumerator<Value> Items(Value[] items, Budget budget)
    {
        foreach (Value item in items)
        {
            budget.Spend();
            yield return item;
        }
    }

    private static IEnumerator<Value> Backwards(Value[] items, Budget budget)
    {
        for (int i = items.Length - 1; i >= 0; i--)
        {
            budget.Spend();
            yield return items[i];
        }
    }

    private static IEnumerator<Value> Characters(StringValue text, Budget budget)
    {
        for (int i = 0; i < text.Length; i++)
        {
            budget.Spend();
            yield return new StringValue(text.CharAt(i));
        }
    }

    private static IEnumerator<Value> Keys(DictValue dict, Budget budget)
    {
        foreach (Value key in dict.Entries.Keys)
        {
            budget.Spend();
            yield return key;
        }
    }

    private static IEnumerator<Value> View(DictViewValue view, Budget budget)
    {
        for (int i = 0; i < view.Source.Entries.Count; i++)
        {
            budget.Spend();
            yield return view.Item(i);
        }
    }

    private static IEnumerator<Value> Numbers(RangeValue range, Budget budget)
    {
        for (long i = 0; i < range.Length; i++)
        {
            budget.Spend();
            yield return range[i];
        }
    }

    /// <summary>Walking the variable <c>loop</c> itself goes on with its loop.</summary>
    private static IEnumerator<Value> Rounds(LoopValue loop, Budget budget)
    {
        while (loop.Next() is { } item)
        {
            budget.Spend();
            yield return new TupleValue([item, loop]);
        }
    }

    private static IEnumerator<Value> Rest(IteratorValue iterator, Budget budget)
    {
        while (iterator.Next() is { } item)
        {
            budget.Spend();
            yield return item;
        }
    }
}
