using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>Filters that sort, group or compare items.</summary>
internal static class OrderFilters
{
    public static Value Sort(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("sort", 0, "reverse", "case_sensitive", "attribute");
        bool ignoreCase = !(bound[1]?.IsTrue ?? false);
        AttributePath[] paths = bound[2] is StringValue names
            ? [.. names.Text.Split(',').Select(name => new AttributePath(new StringValue(name), ignoreCase))]
            : [new AttributePath(bound[2] ?? NoneValue.Instance, ignoreCase)];
        Value[] items = [.. Iteration.ToArray(input, interpreter.Budget)];
        Value[] keys = [.. items.Select(item => new ListValue([.. paths.Select(path => path.Read(item, interpreter.Budget))]))];
        Sorting.Sort(items, keys, bound[0]?.IsTrue ?? false, interpreter.Budget);
        return new ListValue(items);
    }

    public static Value DictSort(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("dictsort", 0, "case_sensitive", "by", "reverse");
        string by = bound[1] is StringValue text ? text.Text : bound[1] is null ? "key" : "";
        if (by is not ("key" or "value"))
            throw new TemplateException("You can only sort by either \"key\" or \"value\"");
        if (input is not DictValue dict)
            throw input is UndefinedValue undefined ? undefined.Error() : new TemplateException($"'{input.TypeName} object' has no attribute 'items'");
        AttributePath path = new(NoneValue.Instance, ignoreCase: !(bound[0]?.IsTrue ?? false));
        interpreter.Budget.MakeItems(dict.Entries.Count);
        Value[] keys = [.. dict.Entries.Select(e => path.Read(by == "key" ? e.Key : e.Value, interpreter.Budget))];
        Value[] items = [.. dict.Entries.Select(DictValue.Pair)];
        Sorting.Sort(items, keys, bound[2]?.IsTrue ?? false, interpreter.Budget);
        return new ListValue(items);
    }

    public static Value Unique(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("unique", 0, "case_sensitive", "attribute");
        AttributePath path = new(bound[1] ?? NoneValue.Instance, ignoreCase: !(bound[0]?.IsTrue ?? false));
        return new IteratorValue(Items());

        IEnumerator<Value> Items()
        {
            HashSet<Value> seen = new(KeyComparer.Instance);
            IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
            while (items.MoveNext())
            {
                if (seen.Add(KeyComparer.Check(path.Read(items.Current, interpreter.Budget), interpreter.Budget)))
                    yield return items.Current;
            }
        }
    }

    /// <param name="which"><c>min</c> or <c>max</c>; of equal items the first.</param>
    public static Value Extreme(Interpreter interpreter, Value input, Arguments arguments, string which)
    {
        Value?[] bound = arguments.Bind(which, 0, "case_sensitive", "attribute");
        AttributePath path = new(bound[1] ?? NoneValue.Instance, ignoreCase: !(bound[0]?.IsTrue ?? false));
        IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
        if (!items.MoveNext())
            return new UndefinedValue("No aggregated item, sequence was empty.");
        Value best = items.Current, bestKey = path.Read(best, interpreter.Budget);
        while (items.MoveNext())
        {
            Value key = path.Read(items.Current, interpreter.Budget);
            if (Comparison.Ordered(key, bestKey, which == "min" ? "<" : ">", interpreter.Budget))
                (best, bestKey) = (items.Current, key);
        }
        return best;
    }

    /// <summary>Pairs of a value and the items that have it, sorted by it; the parts are also attributes <c>grouper</c> and <c>list</c>.</summary>
    public static Value GroupBy(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("groupby", 1, "attribute", "default", "case_sensitive");
        bool ignoreCase = !(bound[2]?.IsTrue ?? false);
        AttributePath keyPath = new(bound[0]!, ignoreCase, bound[1]), namePath = new(bound[0]!, fallback: bound[1]);
        Budget budget = interpreter.Budget;
        Value[] items = [.. Iteration.ToArray(input, budget)];
        Value[] keys = [.. items.Select(item => keyPath.Read(item, budget))];
        Sorting.Sort(items, keys, false, budget);
        List<Value> groups = [];
        for (int start = 0; start < items.Length;)
        {
            Value key = keyPath.Read(items[start], budget);
            int end = start + 1;
            while (end < items.Length && Comparison.Equal(keyPath.Read(items[end], budget), key, budget))
                end++;
            groups.Add(new TupleValue([namePath.Read(items[start], budget), new ListValue(items[start..end])], ["grouper", "list"]));
            start = end;
        }
        return new ListValue([.. groups]);
    }

    public static Value Reverse(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("reverse", 0);
        if (input is StringValue)
            return Access.Slice(input, null, null, new IntValue(-1), interpreter.Budget);
        if (Iteration.TryReverse(input, interpreter.Budget) is { } reversed)
            return new IteratorValue(reversed, input is ListValue ? "list_reverseiterator" : "reversed");
        if (!Iteration.IsIterable(input))
            throw new TemplateException("argument must be iterable");
        Value[] items = [.. Iteration.ToArray(input, interpreter.Budget)];
        Array.Reverse(items);
        return new ListValue(items);
    }
}
