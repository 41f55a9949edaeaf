using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;

namespace InferenceService.Models.Checkpoints;

/// <summary>One object of a JSON file, read field by field. Every value is checked; null counts as absent unless said otherwise.</summary>
/// <remarks>Every error is one line that names file, field, value and what is allowed.</remarks>
internal readonly struct ConfigJson
{
    private readonly JsonElement _object;
    private readonly string _file;
    private readonly string _prefix;

    private ConfigJson(JsonElement element, string file, string prefix) => (_object, _file, _prefix) = (element, file, prefix);

    /// <summary>Parses a whole file.</summary>
    /// <param name="bytes">UTF-8, with or without a byte order mark.</param>
    /// <param name="file">Name for messages.</param>
    /// <exception cref="CheckpointException">Not JSON, or not an object.</exception>
    public static ConfigJson Parse(ReadOnlySpan<byte> bytes, string file)
    {
        if (bytes.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
            bytes = bytes[3..];
        try
        {
            var reader = new Utf8JsonReader(bytes);
            using JsonDocument document = JsonDocument.ParseValue(ref reader);
            _ = reader.Read(); // throws when anything but white space follows
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new CheckpointException($"{file}: the JSON value is not an object.");
            return new ConfigJson(document.RootElement.Clone(), file, "");
        }
        catch (JsonException e)
        {
            throw new CheckpointException($"{file}: not valid JSON at line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}.", e);
        }
    }

    /// <summary>True when the field is there, even as null.</summary>
    public bool Mentions(string name) => TryGet(name, out _);

    /// <summary>True when the field is there and not null.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>True when the field is there and an object.</summary>
    public bool HasObject(string name) => Find(name)?.ValueKind == JsonValueKind.Object;

    /// <summary>True when the field is there and a string.</summary>
    public bool HasText(string name) => Find(name)?.ValueKind == JsonValueKind.String;

    /// <summary>A required whole number.</summary>
    public int Int(string name, int min, int max) => OptionalInt(name, min, max) ?? throw Missing(name);

    /// <summary>A whole number, or null.</summary>
    public int? OptionalInt(string name, int min, int max)
    {
        if (Find(name) is not { } value)
            return null;
        if (value.ValueKind == JsonValueKind.Number)
        {
            if (value.TryGetInt64(out long whole) && whole >= min && whole <= max)
                return (int)whole;
            if (value.TryGetDouble(out double number) && number == Math.Floor(number) && number >= min && number <= max)
                return (int)number;
        }

        throw Refuse(name, value, string.Create(CultureInfo.InvariantCulture, $"a whole number from {min} to {max}"));
    }

    /// <summary>A finite number, or null.</summary>
    public double? OptionalNumber(string name, double min, double max) => Find(name) is { } value ? Number(name, value, min, max) : null;

    /// <summary>A truth value, or null.</summary>
    public bool? OptionalFlag(string name)
    {
        if (Find(name) is not { } value)
            return null;
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Refuse(name, value, "true or false");
    }

    /// <summary>A string, or null.</summary>
    public string? OptionalText(string name)
    {
        if (Find(name) is not { } value)
            return null;
        return value.ValueKind == JsonValueKind.String && TryText(value, out string text) ? text : throw Refuse(name, value, "a string");
    }

    /// <summary>An object, or null.</summary>
    public ConfigJson? OptionalObject(string name)
    {
        if (Find(name) is not { } value)
            return null;
        return value.ValueKind == JsonValueKind.Object
            ? new ConfigJson(value, _file, $"{_prefix}{name}.")
            : throw Refuse(name, value, "an object");
    }

    /// <summary>A list of whole numbers, or one number alone as a list of one, or null.</summary>
    public ImmutableArray<int>? OptionalInts(string name, int min, int max, int maxCount)
    {
        if (Find(name) is not { } value)
            return null;
        if (value.ValueKind == JsonValueKind.Number)
            return [Int(name, min, max)];
        string allowed = string.Create(CultureInfo.InvariantCulture, $"at most {maxCount} whole numbers from {min} to {max}");
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() > maxCount)
            throw Refuse(name, value, allowed);
        var numbers = ImmutableArray.CreateBuilder<int>(value.GetArrayLength());
        foreach (JsonElement item in value.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt32(out int number) || number < min || number > max)
                throw Refuse(name, item, allowed);
            numbers.Add(number);
        }

        return numbers.MoveToImmutable();
    }

    /// <summary>A list of exactly <paramref name="count"/> finite numbers.</summary>
    public ImmutableArray<double> Numbers(string name, double min, double max, int count)
    {
        JsonElement value = Find(name) ?? throw Missing(name);
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != count)
            throw Refuse(name, value, $"a list of {count} numbers");
        var numbers = ImmutableArray.CreateBuilder<double>(count);
        foreach (JsonElement item in value.EnumerateArray())
            numbers.Add(Number(name, item, min, max));
        return numbers.MoveToImmutable();
    }

    /// <summary>A list of strings, or null.</summary>
    public ImmutableArray<string>? OptionalTexts(string name, int maxCount)
    {
        if (Find(name) is not { } value)
            return null;
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() > maxCount)
            throw Refuse(name, value, $"a list of at most {maxCount} strings");
        var texts = ImmutableArray.CreateBuilder<string>(value.GetArrayLength());
        foreach (JsonElement item in value.EnumerateArray())
            texts.Add(item.ValueKind == JsonValueKind.String && TryText(item, out string text) ? text : throw Refuse(name, item, "strings"));
        return texts.MoveToImmutable();
    }

    /// <summary>An object whose values are strings.</summary>
    public Dictionary<string, string> TextMap(string name, int maxCount)
    {
        JsonElement value = Find(name) ?? throw Missing(name);
        if (value.ValueKind != JsonValueKind.Object || value.GetPropertyCount() > maxCount)
            throw Refuse(name, value, $"an object of at most {maxCount} strings");
        var map = new Dictionary<string, string>(value.GetPropertyCount(), StringComparer.Ordinal);
        foreach (JsonProperty entry in value.EnumerateObject())
        {
            if (!TryName(entry, out string key) || entry.Value.ValueKind != JsonValueKind.String || !TryText(entry.Value, out string text))
                throw Refuse(name, entry.Value, "an object of strings");
            if (!map.TryAdd(key, text))
                throw Error(name, $"lists {Quote.Value(key)} twice");
        }

        return map;
    }

    /// <summary>An error about a field whose value is understood but not acceptable.</summary>
    public CheckpointException Error(string name, string fact) => new($"{_file}: {_prefix}{name} {fact}.");

    private double Number(string name, JsonElement value, double min, double max)
    {
        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && number >= min && number <= max)
            return number;
        throw Refuse(name, value, string.Create(CultureInfo.InvariantCulture, $"a number from {min} to {max}"));
    }

    private JsonElement? Find(string name) =>
        TryGet(name, out JsonElement value) && value.ValueKind is not (JsonValueKind.Null or JsonValueKind.Undefined) ? value : null;

    /// <summary>The JSON reader compares escaped names by their text and throws at half a surrogate pair, whatever name is looked for.</summary>
    private bool TryGet(string name, out JsonElement value)
    {
        try
        {
            return _object.TryGetProperty(name, out value);
        }
        catch (InvalidOperationException e)
        {
            throw new CheckpointException($"{_file}: {(_prefix.Length == 0 ? "it" : _prefix.TrimEnd('.'))} has a name that is not valid text.", e);
        }
    }

    private CheckpointException Missing(string name) => new($"{_file}: {_prefix}{name} is missing.");

    private CheckpointException Refuse(string name, JsonElement value, string allowed) =>
        new($"{_file}: {_prefix}{name} is {Describe(value)}; allowed: {allowed}.");

    private static string Describe(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => $"a list of {value.GetArrayLength()}",
        JsonValueKind.String => TryText(value, out string text) ? Quote.Value(text) : "not valid text",
        _ => value.GetRawText() is { Length: <= 40 } raw ? raw : "a number of more than 40 digits",
    };

    /// <summary>False for bytes that are no UTF-8 and for half a surrogate pair, on which the JSON reader throws.</summary>
    private static bool TryText(JsonElement value, out string text)
    {
        try
        {
            text = value.GetString() ?? "";
            return true;
        }
        catch (InvalidOperationException)
        {
            text = "";
            return false;
        }
    }

    private static bool TryName(JsonProperty property, out string name)
    {
        try
        {
            name = property.Name;
            return true;
        }
        catch (InvalidOperationException)
        {
            name = "";
            return false;
        }
    }
}
