using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>Filters that look at or regroup the items of something.</summary>
internal static class ListFilters
{
    public static Value Length(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("length", 0);
        return Iteration.LengthOf(input) is { } length
            ? new IntValue(length)
            : throw new TemplateException($"object of type '{input.TypeName}' has no len()");
    }

    public static Value List(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("list", 0);
        return new ListValue(Iteration.ToArray(input, interpreter.Budget));
    }

    public static Value Items(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("items", 0);
        return input switch
        {
            UndefinedValue => new IteratorValue(Iteration.Iterate(input, interpreter.Budget)),
            DictValue dict => new IteratorValue(Iteration.Iterate(new DictViewValue(dict, DictViewKind.Items), interpreter.Budget)),
            _ => throw new TemplateException("Can only get item pairs from a mapping."),
        };
    }

    public static Value First(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("first", 0);
        IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
        return items.MoveNext() ? items.Current : new UndefinedValue("No first item, sequence was empty.");
    }

    public static Value Last(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("last", 0);
        if (input is SequenceValue { Items: [.., Value last] })
            return last;
        IEnumerator<Value> items = Iteration.TryReverse(input, interpreter.Budget)
            ?? throw new TemplateException($"'{input.TypeName}' object is not reversible");
        return items.MoveNext() ? items.Current : new UndefinedValue("No last item, sequence was empty.");
    }

    /// <summary>Rows of so many items, the last one filled up if asked.</summary>
    public static Value Batch(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("batch", 1, "linecount", "fill_with");
        int size = Numbers.ToInt32(bound[0]!);
        return new IteratorValue(Rows());

        IEnumerator<Value> Rows()
        {
            List<Value> row = [];
            IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
            while (items.MoveNext())
            {
                if (row.Count == size)
                {
                    yield return new ListValue([.. row]);
                    row.Clear();
                }
                row.Add(items.Current);
            }
            if (row.Count == 0)
                yield break;
            if (bound[1] is { } fill and not NoneValue && row.Count < size)
            {
                interpreter.Budget.MakeItems(size - row.Count);
                row.AddRange(Enumerable.Repeat(fill, size - row.Count));
            }
            yield return new ListValue([.. row]);
        }
    }

    /// <summary>So many columns of nearly equal length, short ones filled up if asked.</summary>
    public static Value Slice(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("slice", 1, "slices", "fill_with");
        int slices = Numbers.ToInt32(bound[0]!);
        if (slices == 0)
            throw new TemplateException("integer division or modulo by zero");
        return new IteratorValue(Columns());

        IEnumerator<Value> Columns()
        {
            Value[] items = Iteration.ToArray(input, interpreter.Budget);
            int offset = 0;
            for (int i = 0; i < slices; i++)
            {
                interpreter.Budget.Spend();
                bool longer = i < items.Length % slices;
                int length = items.Length / slices + (longer ? 1 : 0);
                Value[] column = items[offset..(offset + length)];
                offset += length;
                yield return new ListValue(bound[1] is { } fill and not NoneValue && !longer ? [.. column, fill] : column);
            }
        }
    }

    public static Value Default(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("default", 0, "default_value", "boolean");
        bool replace = input is UndefinedValue || ((bound[1]?.IsTrue ?? false) && !input.IsTrue);
        return replace ? bound[0] ?? StringValue.Empty : input;
    }
}
