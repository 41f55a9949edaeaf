using System.Text.Json;

namespace InferenceService.Server.Api.Requests;

/// <summary>
/// Typed access to the fields of one JSON object. Null equals absent, the last of two equal keys wins, every problem is
/// collected with the field's path; a field that has one reads as absent.
/// </summary>
internal sealed class FieldReader
{
    private readonly JsonElement _object;
    private readonly string _path;
    private readonly Problems _problems;
    private readonly HashSet<string> _known = new(StringComparer.Ordinal);

    /// <param name="value">A JSON object.</param>
    /// <param name="path">Prefix of its fields' paths, for example <c>messages[2].</c>; empty at the top.</param>
    public FieldReader(JsonElement value, string path, Problems problems) => (_object, _path, _problems) = (value, path, problems);

    /// <summary>Where problems are collected.</summary>
    public Problems Problems => _problems;

    /// <summary>The path under which clients know a field.</summary>
    public string Path(string name) => _path + name;

    /// <summary>The raw value, unless it is absent or null.</summary>
    public bool TryGet(string name, out JsonElement value)
    {
        _known.Add(name);
        return _object.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;
    }

    /// <summary>Marks fields as known that have no effect here.</summary>
    public void Accept(ReadOnlySpan<string> names)
    {
        foreach (string name in names)
            _known.Add(name);
    }

    /// <summary>Names in the object that nobody asked for.</summary>
    public IEnumerable<string> Unknown()
    {
        foreach (JsonProperty property in _object.EnumerateObject())
        {
            if (!_known.Contains(property.Name))
                yield return property.Name;
        }
    }

    public bool? Bool(string name)
    {
        if (!TryGet(name, out JsonElement value))
            return null;
        if (value.ValueKind is JsonValueKind.True or JsonValueKind.False)
            return value.GetBoolean();
        Reject(name, "must be true or false", value);
        return null;
    }

    /// <summary>An integer in [minimum, maximum]; 16.0 is one, 16.5 is not.</summary>
    public long? Integer(string name, long minimum, long maximum)
    {
        if (!TryGet(name, out JsonElement value))
            return null;
        if (JsonNumber.TryInteger(value, out long number) && number >= minimum && number <= maximum)
            return number;
        Reject(name, maximum == long.MaxValue ? $"must be an integer of at least {minimum}" : $"must be an integer from {minimum} to {maximum}", value);
        return null;
    }

    /// <summary>A finite number in [minimum, maximum].</summary>
    /// <param name="open">The minimum itself is not allowed.</param>
    public double? Number(string name, double minimum, double maximum, bool open = false)
    {
        if (!TryGet(name, out JsonElement value))
            return null;
        if (JsonNumber.TryNumber(value, out double number) && number <= maximum && (open ? number > minimum : number >= minimum))
            return number;
        Reject(name, $"must be a number {(open ? "above" : "from")} {JsonNumber.Show(minimum)} {(open ? "and at most" : "to")} {JsonNumber.Show(maximum)}", value);
        return null;
    }

    /// <summary>A string of at most so many UTF-16 characters.</summary>
    public string? Text(string name, int maxLength = int.MaxValue)
    {
        if (!TryGet(name, out JsonElement value))
            return null;
        if (value.ValueKind != JsonValueKind.String)
        {
            Reject(name, "must be a string", value);
            return null;
        }

        string text = value.GetString()!;
        if (text.Length <= maxLength)
            return text;
        _problems.Invalid(Path(name), $"{Path(name)} must be at most {maxLength} characters long, got {text.Length}.");
        return null;
    }

    /// <summary>An object.</summary>
    public FieldReader? Object(string name)
    {
        if (!TryGet(name, out JsonElement value))
            return null;
        if (value.ValueKind == JsonValueKind.Object && value.GetPropertyCount() <= RequestBody.MaxFields)
            return new FieldReader(value, Path(name) + ".", _problems);
        Reject(name, $"must be an object of at most {RequestBody.MaxFields} fields", value);
        return null;
    }

    /// <summary>An array of at most so many elements, not read yet.</summary>
    public bool TryArray(string name, int minimum, int maximum, out JsonElement array)
    {
        if (!TryGet(name, out array))
            return false;
        if (array.ValueKind == JsonValueKind.Array && array.GetArrayLength() >= minimum && array.GetArrayLength() <= maximum)
            return true;
        if (array.ValueKind != JsonValueKind.Array)
            Reject(name, "must be an array", array);
        else
            _problems.Invalid(Path(name), $"{Path(name)} must have {minimum} to {maximum} entries, got {array.GetArrayLength()}.");
        return false;
    }

    /// <summary>An array of strings.</summary>
    /// <param name="single">One string may stand for an array of one.</param>
    public string[]? Texts(string name, int maximum, int maxLength, bool single = false)
    {
        if (single && TryGet(name, out JsonElement one) && one.ValueKind == JsonValueKind.String)
            return CheckedText(Path(name), one, maxLength) is { } only ? [only] : null;
        if (!TryArray(name, 0, maximum, out JsonElement array))
            return null;
        var texts = new string[array.GetArrayLength()];
        int count = 0;
        foreach (JsonElement element in array.EnumerateArray())
        {
            if (CheckedText($"{Path(name)}[{count}]", element, maxLength) is not { } text)
                return null;
            texts[count++] = text;
        }

        return texts;
    }

    /// <summary>An array of token ids, each from 0 to below the vocabulary size.</summary>
    public int[]? TokenIds(string name, int minimum, int maximum, int vocabulary) =>
        TryArray(name, minimum, maximum, out JsonElement array) ? TokenIds(Path(name), array, vocabulary, _problems) : null;

    /// <summary>The ids of an array whose length was checked; null after a problem.</summary>
    public static int[]? TokenIds(string path, JsonElement array, int vocabulary, Problems problems)
    {
        var ids = new int[array.GetArrayLength()];
        int count = 0;
        foreach (JsonElement element in array.EnumerateArray())
        {
            if (!JsonNumber.TryInteger(element, out long id) || id < 0 || id >= vocabulary)
            {
                problems.Invalid($"{path}[{count}]", $"{path}[{count}] must be a token id from 0 to {vocabulary - 1}, got {JsonNumber.Show(element)}.");
                return null;
            }

            ids[count++] = (int)id;
        }

        return ids;
    }

    /// <summary>Reports a field's value as wrong.</summary>
    public void Reject(string name, string rule, JsonElement value) =>
        _problems.Invalid(Path(name), $"{Path(name)} {rule}, got {JsonNumber.Show(value)}.");

    private string? CheckedText(string path, JsonElement element, int maxLength)
    {
        string? text = element.ValueKind == JsonValueKind.String ? element.GetString() : null;
        if (text is null)
            _problems.Invalid(path, $"{path} must be a string, got {JsonNumber.Show(element)}.");
        else if (text.Length == 0 || text.Length > maxLength)
            _problems.Invalid(path, $"{path} must be 1 to {maxLength} characters long, got {text.Length}.");
        else
            return text;
        return null;
    }
}
