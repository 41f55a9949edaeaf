using System.Text.Json;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>A value of the template language: a closed set of types with Python's behaviour.</summary>
/// <remarks>What a caller can make is immutable and may be shared between threads and renderings.</remarks>
public abstract class Value
{
    private protected Value()
    {
    }

    /// <summary>Python's <c>None</c>, JSON's <c>null</c>.</summary>
    public static Value None => NoneValue.Instance;

    /// <summary>Name of the type as Python's messages give it.</summary>
    internal abstract string TypeName { get; }

    /// <summary>Python's <c>bool(value)</c>.</summary>
    internal virtual bool IsTrue => true;

    /// <summary>A string; indices and lengths in the template count code points.</summary>
    public static Value Of(string text) => new StringValue(text);

    public static Value Of(long number) => new IntValue(number);

    public static Value Of(double number) => new FloatValue(number);

    public static Value Of(bool truth) => BoolValue.From(truth);

    /// <summary>A list of these items, in order.</summary>
    public static Value List(params IEnumerable<Value> items) => new ListValue([.. items]);

    /// <summary>A dict with these entries, in order; a key given twice keeps its first place and its last value.</summary>
    public static Value Dict(params IEnumerable<KeyValuePair<string, Value>> entries)
    {
        DictValue dict = new();
        foreach ((string key, Value value) in entries)
            dict.Entries[new StringValue(key)] = value;
        return dict;
    }

    /// <summary>A JSON value: order of keys kept, integers (of any size) and floats kept apart.</summary>
    /// <exception cref="TemplateException">The JSON holds a lone surrogate, an integer of more than 4096 bits, or nests too deep.</exception>
    public static Value FromJson(JsonElement element) => JsonReading.Read(element);
}
