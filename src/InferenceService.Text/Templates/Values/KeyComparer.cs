using System.Numerics;

namespace InferenceService.Text.Templates.Values;

/// <summary>Equality of dict keys: 1, 1.0 and True are one key, as in Python.</summary>
/// <remarks>
/// Only strings, numbers, booleans, none, undefined, tuples of these and identities can be keys. A tuple with more than
/// <see cref="MaxTupleItems"/> items, counted through nested tuples, is refused: its cost would be unbounded.
/// </remarks>
internal sealed class KeyComparer : IEqualityComparer<Value>
{
    public const int MaxTupleItems = 64;

    public static readonly KeyComparer Instance = new();

    /// <summary>Checks that a value may be a key, before it reaches a dictionary, and pays for hashing it.</summary>
    /// <exception cref="TemplateException">A list or dict, or a tuple that holds one or is too large.</exception>
    public static Value Check(Value key, Budget budget) => Refusal(key, budget) is { } refusal ? throw new TemplateException(refusal) : key;

    /// <summary>Why a value cannot be a key, or null if it can.</summary>
    public static string? Refusal(Value key, Budget budget)
    {
        int items = 0;
        return Refusal(key, ref items, budget);
    }

    public bool Equals(Value? x, Value? y)
    {
        if (ReferenceEquals(x, y))
            return true;
        return (x, y) switch
        {
            (StringValue a, StringValue b) => a.Text == b.Text,
            (IntValue a, IntValue b) => a.Number == b.Number,
            (TupleValue a, TupleValue b) => a.Items.AsSpan().SequenceEqual(b.Items, this),
            (RangeValue a, RangeValue b) => Comparison.SameRange(a, b),
            (UndefinedValue, UndefinedValue) => true,
            ({ } a, { } b) => Numbers.IsNumber(a) && Numbers.IsNumber(b) && Numbers.Compare(a, b) == 0,
            _ => false,
        };
    }

    public int GetHashCode(Value obj)
    {
        switch (obj)
        {
            case StringValue text:
                return text.Text.GetHashCode();
            case IntValue or BoolValue:
                return HashCode.Combine(Numbers.ToInteger(obj));
            case FloatValue f:
                return double.IsFinite(f.Number) && Math.Floor(f.Number) == f.Number
                    ? HashCode.Combine(new BigInteger(f.Number))
                    : HashCode.Combine(f.Number);
            case TupleValue tuple:
                HashCode hash = default;
                foreach (Value item in tuple.Items)
                    hash.Add(GetHashCode(item));
                return hash.ToHashCode();
            case RangeValue range:
                return HashCode.Combine(range.Length);
            case UndefinedValue:
                return 1;
            default:
                return System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(obj);
        }
    }

    private static string? Refusal(Value key, ref int items, Budget budget)
    {
        if (key is StringValue text)
            budget.SpendChars(text.Text.Length);
        if (key is ListValue or DictValue or DictViewValue { Kind: not DictViewKind.Values })
            return $"unhashable type: '{key.TypeName}'";
        if (key is not TupleValue tuple)
            return null;
        items += tuple.Items.Length;
        if (items > MaxTupleItems)
            return $"a tuple used as a key has more than {MaxTupleItems} items";
        foreach (Value item in tuple.Items)
        {
            if (Refusal(item, ref items, budget) is { } refusal)
                return refusal;
        }
        return null;
    }
}
