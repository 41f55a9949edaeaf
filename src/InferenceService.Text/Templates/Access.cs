using System.Numerics;
using InferenceService.Text.Templates.Builtins;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>
/// <c>a.b</c>, <c>a[b]</c> and slices, as Jinja2's immutable sandbox does them: an attribute falls back to the item of that name and
/// the other way round; what would change a list or dict, and what begins with an underscore, cannot be reached.
/// </summary>
internal static class Access
{
    public static Value Attribute(Value target, StringValue name, Budget budget)
    {
        if (target is UndefinedValue undefined)
            throw undefined.Error();
        if (PythonAttribute(target, name.Text) is { } attribute)
            return attribute;
        return target is DictValue dict && dict.Find(name, budget) is { } item ? item : Missing(target, name, budget);
    }

    public static Value Item(Value target, Value key, Budget budget)
    {
        if (target is UndefinedValue undefined)
            throw undefined.Error();
        return Subscript(target, key, budget)
            ?? (key is StringValue name ? PythonAttribute(target, name.Text) : null)
            ?? Missing(target, key, budget);
    }

    /// <summary><c>target[start:stop:step]</c> of a string, list, tuple or range.</summary>
    public static Value Slice(Value target, Value? start, Value? stop, Value? step, Budget budget)
    {
        if (target is UndefinedValue undefined)
            throw undefined.Error();
        if (target is not (StringValue or SequenceValue or RangeValue))
            throw new TemplateException(target is DictValue ? "unhashable type: 'slice'" : $"'{target.TypeName}' object is not subscriptable");
        BigInteger by = Part(step) ?? BigInteger.One;
        if (by.IsZero)
            throw new TemplateException("slice step cannot be zero");
        long length = Iteration.LengthOf(target)!.Value;
        long first = Clamp(Part(start), by.Sign > 0 ? 0 : length - 1, length, by.Sign > 0);
        long end = Clamp(Part(stop), by.Sign > 0 ? length : -1, length, by.Sign > 0);
        long count = RangeValue.CountOf(first, end, by);
        long stride = BigInteger.Abs(by) <= length ? (long)by : by.Sign * (length + 1); // a longer stride takes the first item alone
        budget.MakeItems(target is StringValue && stride == 1 ? 0 : count);
        switch (target)
        {
            case StringValue text when stride == 1:
                string part = text.Range((int)first, (int)(first + count));
                budget.MakeChars(part.Length);
                return text.With(part);
            case StringValue text:
                return text.With(string.Concat(Positions(first, stride, count).Select(i => text.CharAt((int)i))));
            case RangeValue range:
                return new RangeValue(range.Start + first * range.Step, range.Start + end * range.Step, range.Step * stride);
            default:
                Value[] items = ((SequenceValue)target).Items;
                Value[] taken = [.. Positions(first, stride, count).Select(i => items[i])];
                return target is ListValue ? new ListValue(taken) : new TupleValue(taken);
        }
    }

    /// <summary>What <c>getattr</c> finds; null if the type has no such attribute.</summary>
    public static Value? PythonAttribute(Value target, string name)
    {
        if (name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal) && name.Length > 4)
            return Unsafe(target, name);
        if (target is NamespaceValue space)
            return !space.Attributes.TryGetValue(name, out Value? value) ? null : name.StartsWith('_') ? Unsafe(target, name) : value;
        return Methods.Changes(target, name) ? Unsafe(target, name) : Methods.Find(target, name);
    }

    /// <summary>What <c>target[key]</c> finds; null if there is no such item, or the type has no items.</summary>
    private static Value? Subscript(Value target, Value key, Budget budget)
    {
        if (target is DictValue dict)
            return KeyComparer.Refusal(key, budget) is null ? dict.Entries.GetValueOrDefault(key) : null;
        if (target is not (StringValue or SequenceValue or RangeValue) || !Numbers.IsInteger(key))
            return null;
        long length = Iteration.LengthOf(target)!.Value;
        BigInteger index = Numbers.ToInteger(key);
        if (index.Sign < 0)
            index += length;
        if (index.Sign < 0 || index >= length)
            return null;
        return target switch
        {
            StringValue text => text.With(text.CharAt((int)index)),
            RangeValue range => range[(long)index],
            _ => ((SequenceValue)target).Items[(int)index],
        };
    }

    private static UndefinedValue Missing(Value target, Value key, Budget budget)
    {
        string owner = target is NoneValue ? "None" : $"{target.TypeName} object";
        return new UndefinedValue(key is StringValue name
            ? $"'{owner}' has no attribute {PythonText.Quote(name.Text)}"
            : $"{owner} has no element {Shorten(Repr.Of(key, budget))}");
    }

    private static string Shorten(string text) => text.Length <= 64 ? text : string.Concat(text.AsSpan(0, 61), "...");

    private static UndefinedValue Unsafe(Value target, string name) =>
        new($"access to attribute {PythonText.Quote(name)} of '{target.TypeName}' object is unsafe.");

    private static BigInteger? Part(Value? value)
    {
        if (value is null or NoneValue)
            return null;
        if (!Numbers.IsInteger(value))
            throw new TemplateException("slice indices must be integers or None or have an __index__ method");
        return Numbers.ToInteger(value);
    }

    private static long Clamp(BigInteger? position, long unset, long length, bool forward)
    {
        if (position is not { } at)
            return unset;
        if (at.Sign < 0)
            at += length;
        long lowest = forward ? 0 : -1;
        long highest = forward ? length : length - 1;
        return at < lowest ? lowest : at > highest ? highest : (long)at;
    }

    private static IEnumerable<long> Positions(long first, long stride, long count)
    {
        for (long i = 0; i < count; i++)
            yield return first + i * stride;
    }
}
