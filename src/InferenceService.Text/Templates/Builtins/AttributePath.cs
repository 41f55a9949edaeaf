using System.Globalization;
using System.Numerics;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>An attribute as filters take it: a name, a path with dots in which numbers are indices, or a number.</summary>
/// <param name="attribute">The name, path or number; none for the item itself.</param>
/// <param name="ignoreCase">Whether a string that is found counts in lower case.</param>
/// <param name="fallback">What stands for an undefined value, or null.</param>
internal sealed class AttributePath(Value attribute, bool ignoreCase = false, Value? fallback = null)
{
    private readonly Value[] _parts = attribute switch
    {
        NoneValue => [],
        StringValue path => [.. path.Text.Split('.').Select(Part)],
        _ => [attribute],
    };

    public Value Read(Value item, Budget budget)
    {
        foreach (Value part in _parts)
        {
            budget.Spend();
            item = Access.Item(item, part, budget);
            if (fallback is not null and not NoneValue && item is UndefinedValue)
                item = fallback;
        }
        if (!ignoreCase || item is not StringValue text)
            return item;
        budget.MakeChars(text.Text.Length);
        return text.With(CaseMapping.Lower(text.Text));
    }

    private static Value Part(string part) => part.Length is > 0 and < 10 && part.All(char.IsAsciiDigit)
        ? new IntValue(BigInteger.Parse(part, CultureInfo.InvariantCulture))
        : new StringValue(part);
}
