using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.Json;

namespace InferenceService.Server.Api.Requests;

/// <summary>A KV policy as somebody asks for it: its name, and the options that were stated, as text. Whether there is such a policy is not known yet.</summary>
/// <param name="Name">Name.</param>
/// <param name="Options">Option values by name.</param>
internal sealed record KvPolicyField(string Name, IReadOnlyDictionary<string, string> Options)
{
    private const int MaxOptions = 64;
    private const int MaxNameLength = 64;

    private static readonly Dictionary<string, string> None = [];

    /// <summary>What is wrong with its shape, in words to be put after the field's name; null = nothing.</summary>
    public string? Problem { get; private init; }

    /// <summary>Something that is no policy.</summary>
    public static KvPolicyField Wrong(string problem) => new("", None) { Problem = problem };

    /// <summary>A policy without options.</summary>
    public static KvPolicyField Named(string name) => new(name, None);

    /// <summary>Reads a name, or an object of name and options; null: it is neither, and <paramref name="problem"/> says why in words to be put after the field's name.</summary>
    public static KvPolicyField? Parse(JsonElement value, out string problem)
    {
        problem = "";
        if (value.ValueKind == JsonValueKind.String)
            return Named(value.GetString()!);
        if (value.ValueKind != JsonValueKind.Object || value.GetPropertyCount() > MaxOptions)
        {
            problem = $"must be a name, or an object of a name and at most {MaxOptions} options, got {JsonNumber.Show(value)}";
            return null;
        }

        string? name = null;
        var options = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (JsonProperty property in value.EnumerateObject())
        {
            if (property.NameEquals("name"u8))
            {
                name = property.Value.ValueKind == JsonValueKind.String ? property.Value.GetString() : null;
            }
            else if (property.Name.Length > MaxNameLength)
            {
                problem = $"has no option \"{JsonNumber.Clean(property.Name)}\"";
                return null;
            }
            else if (property.Value.ValueKind == JsonValueKind.Null)
            {
                options.Remove(property.Name);
            }
            else if (!TryText(property.Value, out string? text))
            {
                problem = $"needs a number, true, false or a word for its option {JsonNumber.Clean(property.Name)}, got {JsonNumber.Show(property.Value)}";
                return null;
            }
            else
            {
                options[property.Name] = text;
            }
        }

        if (name is not null)
            return new KvPolicyField(name, options);
        problem = "needs its name as a string";
        return null;
    }

    private static bool TryText(JsonElement value, [NotNullWhen(true)] out string? text)
    {
        text = value.ValueKind switch
        {
            JsonValueKind.String => value.GetString(),
            JsonValueKind.True => "true",
            JsonValueKind.False => "false",
            JsonValueKind.Number => JsonNumber.TryInteger(value, out long integer) ? integer.ToString(CultureInfo.InvariantCulture) : value.GetRawText(),
            _ => null,
        };
        return text is not null;
    }
}
