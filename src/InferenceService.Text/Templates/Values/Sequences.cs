using System.Numerics;

namespace InferenceService.Text.Templates.Values;

/// <summary>What a list and a tuple share: items in order that nobody changes.</summary>
internal abstract class SequenceValue(Value[] items) : Value
{
    public Value[] Items { get; } = items;

    internal override bool IsTrue => Items.Length > 0;
}

internal sealed class ListValue(Value[] items) : SequenceValue(items)
{
    internal override string TypeName => "list";
}

/// <param name="items">The items.</param>
/// <param name="names">Names by which the items can be read as attributes, or none; <c>groupby</c> gives them.</param>
internal sealed class TupleValue(Value[] items, string[]? names = null) : SequenceValue(items)
{
    public string[]? Names { get; } = names;

    internal override string TypeName => "tuple";
}

/// <summary>Python's <c>range</c>; the caller has checked that it is short.</summary>
internal sealed class RangeValue(long start, long stop, long step) : Value
{
    /// <summary>Longest range; the sandbox of the original has the same limit.</summary>
    public const int MaxLength = 100_000;

    public long Start { get; } = start;

    public long Stop { get; } = stop;

    public long Step { get; } = step;

    public long Length { get; } = CountOf(start, stop, step);

    internal override string TypeName => "range";

    internal override bool IsTrue => Length > 0;

    /// <summary>Number of items; <paramref name="step"/> is not zero.</summary>
    public static long CountOf(BigInteger start, BigInteger stop, BigInteger step)
    {
        BigInteger distance = step.Sign > 0 ? stop - start : start - stop;
        if (distance.Sign <= 0)
            return 0;
        BigInteger count = (distance - 1) / BigInteger.Abs(step) + 1;
        return count > long.MaxValue ? long.MaxValue : (long)count;
    }

    public Value this[long index] => new IntValue(Start + index * Step);
}

/// <summary>A generator: can be walked once, item by item, and has no length.</summary>
/// <remarks>Belongs to one rendering.</remarks>
internal sealed class IteratorValue(IEnumerator<Value> items, string typeName = "generator") : Value
{
    internal override string TypeName => typeName;

    /// <summary>The next item, or null at the end.</summary>
    public Value? Next()
    {
        Budget.EnsureStack(); // generators may wrap generators without end
        return items.MoveNext() ? items.Current : null;
    }
}
