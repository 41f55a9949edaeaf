using System.Text.Json;

namespace InferenceService.Text.Templates;

/// <summary>A value of the template language: a closed set of types with Python's behaviour. Immutable as far as a caller can see.</summary>
public abstract class Value
{
    private protected Value()
    {
    }

    /// <summary>Python's <c>None</c>, JSON's <c>null</c>.</summary>
    public static Value None => throw new NotImplementedException();

    /// <summary>A string; indices and lengths in the template count code points.</summary>
    public static Value Of(string text) => throw new NotImplementedException();

    public static Value Of(long number) => throw new NotImplementedException();

    public static Value Of(double number) => throw new NotImplementedException();

    public static Value Of(bool truth) => throw new NotImplementedException();

    /// <summary>A list of these items, in order.</summary>
    public static Value List(params IEnumerable<Value> items) => throw new NotImplementedException();

    /// <summary>A dict with these entries, in order; a key given twice keeps its first place and its last value.</summary>
    public static Value Dict(params IEnumerable<KeyValuePair<string, Value>> entries) => throw new NotImplementedException();

    /// <summary>A JSON value: order of keys kept, integers of any size and floats kept apart.</summary>
    /// <exception cref="TemplateException">The JSON holds a lone surrogate, an integer of more than 4096 bits, or nests too deep.</exception>
    public static Value FromJson(JsonElement element) => throw new NotImplementedException();
}
