namespace InferenceService.Text.Templates.Values;

/// <summary>Python's <c>==</c>, <c>&lt;</c> and <c>in</c>. Costs are counted: values may share parts, and comparing them may take exponential time.</summary>
internal static class Comparison
{
    public static bool Equal(Value a, Value b, Budget budget)
    {
        budget.Spend();
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                if (x.Text.Length != y.Text.Length)
                    return false;
                budget.SpendChars(x.Text.Length);
                return x.Text == y.Text;
            case (UndefinedValue, UndefinedValue):
                return true;
            case (ListValue x, ListValue y):
                return SameItems(x, y, budget);
            case (TupleValue x, TupleValue y):
                return SameItems(x, y, budget);
            case (DictValue x, DictValue y):
                return SameEntries(x, y, budget);
            case (RangeValue x, RangeValue y):
                return SameRange(x, y);
            case (DictViewValue { Kind: DictViewKind.Keys } x, DictViewValue { Kind: DictViewKind.Keys } y):
                budget.Spend(x.Source.Entries.Count);
                return x.Source.Entries.Count == y.Source.Entries.Count && x.Source.Entries.Keys.All(key => y.Source.Find(key, budget) is not null);
            default:
                if (Numbers.IsNumber(a) && Numbers.IsNumber(b))
                    return !Numbers.IsNaN(a) && !Numbers.IsNaN(b) && Numbers.Compare(a, b) == 0;
                return ReferenceEquals(a, b);
        }
    }

    public static bool SameRange(RangeValue a, RangeValue b) =>
        a.Length == b.Length && (a.Length == 0 || (a.Start == b.Start && (a.Length == 1 || a.Step == b.Step)));

    /// <summary>One of <c>&lt; &lt;= &gt; &gt;=</c>.</summary>
    /// <exception cref="TemplateException">The types have no order.</exception>
    public static bool Ordered(Value a, Value b, string op, Budget budget)
    {
        budget.Spend();
        if (a is UndefinedValue u)
            throw u.Error();
        if (b is UndefinedValue v)
            throw v.Error();
        if (Numbers.IsNumber(a) && Numbers.IsNumber(b))
            return !Numbers.IsNaN(a) && !Numbers.IsNaN(b) && Holds(op, Numbers.Compare(a, b));
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                budget.SpendChars(Math.Min(x.Text.Length, y.Text.Length));
                return Holds(op, CompareText(x.Text, y.Text));
            case (ListValue, ListValue) or (TupleValue, TupleValue):
                return OrderedItems(((SequenceValue)a).Items, ((SequenceValue)b).Items, op, budget);
            default:
                throw new TemplateException($"'{op}' not supported between instances of '{a.TypeName}' and '{b.TypeName}'");
        }
    }

    /// <summary><c>item in container</c>.</summary>
    public static bool Contains(Value container, Value item, Budget budget)
    {
        switch (container)
        {
            case StringValue text:
                if (item is not StringValue part)
                    throw new TemplateException($"'in <string>' requires string as left operand, not {item.TypeName}");
                budget.SpendSearch(text.Text.Length, part.Text.Length);
                return text.Text.Contains(part.Text, StringComparison.Ordinal);
            case DictValue dict:
                return dict.Find(item, budget) is not null;
            case DictViewValue { Kind: DictViewKind.Keys } keys:
                return keys.Source.Find(item, budget) is not null;
            default:
                IEnumerator<Value> items = Iteration.TryIterate(container, budget)
                    ?? throw new TemplateException($"argument of type '{container.TypeName}' is not iterable");
                while (items.MoveNext())
                {
                    if (ReferenceEquals(items.Current, item) || Equal(items.Current, item, budget))
                        return true;
                }
                return false;
        }
    }

    /// <summary>Order by code points. UTF-16 order differs only where a surrogate meets a character above the surrogates.</summary>
    private static int CompareText(string a, string b)
    {
        int same = a.AsSpan().CommonPrefixLength(b);
        if (same == a.Length || same == b.Length)
            return a.Length.CompareTo(b.Length);
        char x = a[same], y = b[same];
        if (char.IsSurrogate(x) != char.IsSurrogate(y))
            return char.IsSurrogate(x) ? (y >= 0xE000 ? 1 : x.CompareTo(y)) : (x >= 0xE000 ? -1 : x.CompareTo(y));
        return x.CompareTo(y);
    }

    private static bool Holds(string op, int order) => op switch
    {
        "<" => order < 0,
        "<=" => order <= 0,
        ">" => order > 0,
        _ => order >= 0,
    };

    private static bool SameItems(SequenceValue a, SequenceValue b, Budget budget)
    {
        Budget.EnsureStack();
        if (a.Items.Length != b.Items.Length)
            return false;
        for (int i = 0; i < a.Items.Length; i++)
        {
            if (!ReferenceEquals(a.Items[i], b.Items[i]) && !Equal(a.Items[i], b.Items[i], budget))
                return false;
        }
        return true;
    }

    private static bool SameEntries(DictValue a, DictValue b, Budget budget)
    {
        Budget.EnsureStack();
        if (a.Entries.Count != b.Entries.Count)
            return false;
        foreach ((Value key, Value value) in a.Entries)
        {
            if (b.Find(key, budget) is not { } other || (!ReferenceEquals(value, other) && !Equal(value, other, budget)))
                return false;
        }
        return true;
    }

    private static bool OrderedItems(Value[] a, Value[] b, string op, Budget budget)
    {
        Budget.EnsureStack();
        for (int i = 0; i < a.Length && i < b.Length; i++)
        {
            if (!ReferenceEquals(a[i], b[i]) && !Equal(a[i], b[i], budget))
                return Ordered(a[i], b[i], op, budget);
        }
        return Holds(op, a.Length.CompareTo(b.Length));
    }
}
