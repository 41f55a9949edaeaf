using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace InferenceService.Text.Templates.Values;

/// <summary>From System.Text.Json to values. Python's reader is the model: 1 is an int, 1.0 and 1e3 are floats, the last of equal keys wins.</summary>
internal static class JsonReading
{
    /// <summary>Digits of the largest integer of <see cref="IntValue.MaxBits"/> bits; longer ones are not even parsed.</summary>
    private const int MaxIntegerDigits = 1235;

    public static Value Read(JsonElement element)
    {
        Budget.EnsureStack();
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                DictValue dict = new();
                foreach (JsonProperty property in element.EnumerateObject())
                    dict.Entries[new StringValue(NameOf(property))] = Read(property.Value);
                return dict;
            case JsonValueKind.Array:
                Value[] items = new Value[element.GetArrayLength()];
                int count = 0;
                foreach (JsonElement item in element.EnumerateArray())
                    items[count++] = Read(item);
                return new ListValue(items);
            case JsonValueKind.String:
                return new StringValue(TextOf(element));
            case JsonValueKind.Number:
                return ReadNumber(element);
            case JsonValueKind.True or JsonValueKind.False:
                return BoolValue.From(element.ValueKind == JsonValueKind.True);
            default:
                return NoneValue.Instance;
        }
    }

    private static Value ReadNumber(JsonElement element)
    {
        if (element.TryGetInt64(out long small))
            return new IntValue(small);
        string text = element.GetRawText();
        if (text.AsSpan().IndexOfAny(".eE") >= 0)
            return new FloatValue(double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture));
        if (text.Length > MaxIntegerDigits)
            throw new TemplateException($"a JSON integer is larger than {IntValue.MaxBits} bits");
        return new IntValue(BigInteger.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture));
    }

    private static string NameOf(JsonProperty property)
    {
        try
        {
            return property.Name;
        }
        catch (InvalidOperationException)
        {
            throw LoneSurrogate();
        }
    }

    private static string TextOf(JsonElement element)
    {
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw LoneSurrogate();
        }
    }

    private static TemplateException LoneSurrogate() => new("a JSON string holds half of a surrogate pair");
}
