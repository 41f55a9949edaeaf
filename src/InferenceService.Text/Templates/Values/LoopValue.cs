namespace InferenceService.Text.Templates.Values;

/// <summary>The variable <c>loop</c>. It reads ahead only when asked for the length, the next item or whether this is the last.</summary>
/// <param name="iterable">What is walked, for its length; null if it must be counted.</param>
/// <param name="items">The walk.</param>
/// <param name="recurse">Renders the loop again with other items; null unless the loop is recursive.</param>
/// <param name="depth0">How many recursive loops surround this one.</param>
internal sealed class LoopValue(Value? iterable, IEnumerator<Value> items, Func<Value, int, Value>? recurse, int depth0) : Value
{
    private long? _length = iterable is null ? null : Iteration.LengthOf(iterable);
    private Queue<Value>? _ahead;
    private Value? _current;
    private Value? _before;
    private Value[]? _lastChanged;

    public long Index0 { get; private set; } = -1;

    public int Depth0 { get; } = depth0;

    public bool First => Index0 == 0;

    public bool Last => Peek() is null;

    public Value PreviousItem => First || _before is null ? new UndefinedValue("there is no previous item") : _before;

    public Value NextItem => Peek() ?? new UndefinedValue("there is no next item");

    /// <summary>Number of items; counting what has no length walks it to its end.</summary>
    public long Length
    {
        get
        {
            if (_length is null)
            {
                _ahead ??= new Queue<Value>();
                while (items.MoveNext())
                    _ahead.Enqueue(items.Current);
                _length = Index0 + 1 + _ahead.Count;
            }
            return _length.Value;
        }
    }

    internal override string TypeName => "LoopContext";

    /// <summary>Goes to the next item; null at the end.</summary>
    public Value? Next()
    {
        Value? item = _ahead is { Count: > 0 } ? _ahead.Dequeue() : items.MoveNext() ? items.Current : null;
        if (item is null)
            return null;
        Index0++;
        _before = _current;
        _current = item;
        return item;
    }

    public Value Cycle(Value[] values) => values.Length == 0
        ? throw new TemplateException("no items for cycling given")
        : values[Index0 % values.Length];

    public bool Changed(Value[] values, Budget budget)
    {
        if (_lastChanged is not null && Comparison.Equal(new TupleValue(_lastChanged), new TupleValue(values), budget))
            return false;
        _lastChanged = values;
        return true;
    }

    public Value Recurse(Value inner) => recurse is null
        ? throw new TemplateException("The loop must have the 'recursive' marker to be called recursively.")
        : recurse(inner, Depth0 + 1);

    private Value? Peek()
    {
        if (_ahead is { Count: > 0 })
            return _ahead.Peek();
        if (!items.MoveNext())
            return null;
        _ahead ??= new Queue<Value>();
        _ahead.Enqueue(items.Current);
        return items.Current;
    }
}
