using System.Globalization;
using System.Text;
using System.Text.Json;

namespace InferenceService.Text.Tokenization;

/// <summary>A checked view of one JSON value that knows its place in the file, so that every complaint is one line naming the
/// field.</summary>
internal readonly record struct JsonPart(JsonElement Element, string Path)
{
    private const int MaxQuoted = 80;

    public static JsonDocument Parse(ReadOnlyMemory<byte> json, string file)
    {
        if (json.Span.StartsWith("\uFEFF"u8))
            json = json[3..];
        try
        {
            return JsonDocument.Parse(json);
        }
        catch (JsonException e)
        {
            // The exception's own words quote the file, at any length.
            throw new TokenizerException($"{file} is not valid JSON at line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}", e);
        }
    }

    /// <summary>A value from outside, shortened and without control characters, in quotes.</summary>
    public static string Quote(string value)
    {
        var text = new StringBuilder("\"");
        foreach (char c in value)
        {
            if (text.Length > MaxQuoted)
            {
                text.Append("...");
                break;
            }

            if (char.IsControl(c) || char.IsSurrogate(c) || c is '\u2028' or '\u2029')
                text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            else
                text.Append(c);
        }

        return text.Append('"').ToString();
    }

    public TokenizerException Error(string what) => new($"{Path} {what}");

    public bool IsNull => Element.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    /// <summary>A field that must be there and not null.</summary>
    public JsonPart Required(string name) => Optional(name) ?? throw Error($"has no {Plain(name)}");

    /// <summary>A field, or null when it is absent or JSON null.</summary>
    public JsonPart? Optional(string name)
    {
        if (Element.ValueKind != JsonValueKind.Object)
            throw Error($"must be an object, not {Kind}");
        return TryGet(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? new JsonPart(value, $"{Path}.{Plain(name)}")
            : null;
    }

    /// <summary>True when the field is there, even as JSON null.</summary>
    public bool Has(string name) => Element.ValueKind == JsonValueKind.Object && TryGet(name, out _);

    public string String()
    {
        if (Element.ValueKind != JsonValueKind.String)
            throw Error($"must be a string, not {Kind}");
        try
        {
            return Element.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new TokenizerException($"{Path} is not valid Unicode text", e);
        }
    }

    /// <summary>The JSON reader compares escaped names by their text and throws at half a surrogate pair, whatever name is looked for.</summary>
    private bool TryGet(string name, out JsonElement value)
    {
        try
        {
            return Element.TryGetProperty(name, out value);
        }
        catch (InvalidOperationException e)
        {
            throw new TokenizerException($"{Path} has a name that is not valid Unicode text", e);
        }
    }

    /// <summary>The name of one of this object's fields.</summary>
    public string NameOf(JsonProperty field)
    {
        try
        {
            return field.Name;
        }
        catch (InvalidOperationException e)
        {
            throw new TokenizerException($"{Path} has a name that is not valid Unicode text", e);
        }
    }

    public bool Bool() => Element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Error($"must be true or false, not {Kind}"),
    };

    public int Int(int min, int max)
    {
        if (Element.ValueKind != JsonValueKind.Number)
            throw Error($"must be a number, not {Kind}");
        return Element.TryGetInt64(out long value) && value >= min && value <= max
            ? (int)value
            : throw Error($"is {Quote(Element.GetRawText())}; it must be a whole number from {min} to {max}");
    }

    public double Number()
    {
        if (Element.ValueKind != JsonValueKind.Number)
            throw Error($"must be a number, not {Kind}");
        return Element.TryGetDouble(out double value) && double.IsFinite(value) ? value : throw Error($"is {Quote(Element.GetRawText())}; it must be finite");
    }

    /// <summary>A string that is exactly one code point.</summary>
    public string Character()
    {
        string text = String();
        return Rune.TryGetRuneAt(text.Length > 0 ? text : "\0", 0, out Rune rune) && text.Length == rune.Utf16SequenceLength
            ? text
            : throw Error($"is {Quote(text)}; it must be one character");
    }

    public string String(string name) => Required(name).String();

    public string String(string name, string absent) => Optional(name)?.String() ?? absent;

    public bool Bool(string name, bool absent) => Optional(name)?.Bool() ?? absent;

    public int Int(string name, int min, int max) => Required(name).Int(min, max);

    /// <summary>The elements of a required array.</summary>
    public IEnumerable<JsonPart> Array(string name)
    {
        JsonPart array = Required(name);
        return array.Items();
    }

    public IEnumerable<JsonPart> Items()
    {
        if (Element.ValueKind != JsonValueKind.Array)
            throw Error($"must be an array, not {Kind}");
        return Enumerate(Element, Path);

        static IEnumerable<JsonPart> Enumerate(JsonElement element, string path)
        {
            int index = 0;
            foreach (JsonElement item in element.EnumerateArray())
                yield return new JsonPart(item, $"{path}[{index++}]");
        }
    }

    public int Count => Element.ValueKind == JsonValueKind.Array ? Element.GetArrayLength() : throw Error($"must be an array, not {Kind}");

    /// <summary>A name that may come from the file itself.</summary>
    private static string Plain(string name) => name.Length <= MaxQuoted && name.All(c => c is > ' ' and <= '~') ? name : Quote(name);

    private string Kind => Element.ValueKind.ToString().ToLowerInvariant();
}
