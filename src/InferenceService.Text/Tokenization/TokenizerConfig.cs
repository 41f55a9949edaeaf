using System.Globalization;
using System.Text.Json;
using InferenceService.Text.Tokenization.Algorithms;

namespace InferenceService.Text.Tokenization;

/// <summary>What the tokenizer needs from <c>tokenizer_config.json</c> (or the older <c>special_tokens_map.json</c>).</summary>
internal sealed class TokenizerConfig
{
    private const int NoId = -1;

    private static readonly string[] NamedRoles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    private readonly Dictionary<string, string> _roles = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _chatTemplates = new(StringComparer.Ordinal);

    /// <summary>The tokens of added_tokens_decoder.</summary>
    public List<AddedToken> AddedTokens { get; } = [];

    /// <summary>Every token that has a role, special and without an id yet.</summary>
    public List<AddedToken> ControlTokens { get; } = [];

    public IReadOnlyDictionary<string, string> ChatTemplates => _chatTemplates;

    public bool? AddBos { get; private set; }

    public bool? AddEos { get; private set; }

    public int? ModelMaxLength { get; private set; }

    public string? TokenizerClass { get; private set; }

    /// <summary>The token of a role such as "bos_token".</summary>
    public string? Role(string name) => _roles.GetValueOrDefault(name);

    /// <summary>Reads a file's fields; what an earlier file has set stays.</summary>
    public void Read(JsonPart part)
    {
        if (part.Optional("added_tokens_decoder") is { } decoder)
            ReadAddedTokens(decoder);
        foreach (string role in NamedRoles)
        {
            if (part.Optional(role) is { } token && !_roles.ContainsKey(role))
                _roles[role] = ReadControlToken(token);
        }

        foreach (string list in (ReadOnlySpan<string>)["additional_special_tokens", "extra_special_tokens"])
            ReadExtraTokens(part.Optional(list));
        AddBos ??= part.Optional("add_bos_token")?.Bool();
        AddEos ??= part.Optional("add_eos_token")?.Bool();
        TokenizerClass ??= part.Optional("tokenizer_class")?.String();

        // "No limit" is written as a number around 1e30.
        if (part.Optional("model_max_length")?.Number() is >= 1 and <= int.MaxValue and var length)
            ModelMaxLength ??= (int)length;
        if (part.Optional("chat_template") is { } template)
            ReadChatTemplates(template);
    }

    /// <summary>Sets a template unless one of that name is there.</summary>
    public void AddChatTemplate(string name, string template) => _chatTemplates.TryAdd(name, template);

    /// <summary>One template, or a list of named ones.</summary>
    public void ReadChatTemplates(JsonPart part)
    {
        if (part.Element.ValueKind == JsonValueKind.String)
        {
            AddChatTemplate("default", part.String());
            return;
        }

        foreach (JsonPart item in part.Items())
            AddChatTemplate(item.String("name"), item.String("template"));
    }

    private void ReadAddedTokens(JsonPart part)
    {
        if (part.Element.ValueKind != JsonValueKind.Object)
            throw part.Error("must be an object of id to token");
        foreach (JsonProperty entry in part.Element.EnumerateObject())
        {
            string name = part.NameOf(entry);
            if (!int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int id) || id > Vocabulary.MaxId)
                throw part.Error($"has the id {JsonPart.Quote(name)}; it must be a whole number from 0 to {Vocabulary.MaxId}");
            AddedTokens.Add(AddedToken.Read(new JsonPart(entry.Value, $"{part.Path}.{id}"), id));
        }
    }

    private void ReadExtraTokens(JsonPart? part)
    {
        if (part is not { } tokens)
            return;
        if (tokens.Element.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty entry in tokens.Element.EnumerateObject())
                ReadControlToken(new JsonPart(entry.Value, tokens.Path));
            return;
        }

        foreach (JsonPart item in tokens.Items())
            ReadControlToken(item);
    }

    /// <summary>A string, or an object with content and flags.</summary>
    private string ReadControlToken(JsonPart part)
    {
        AddedToken token = part.Element.ValueKind == JsonValueKind.Object
            ? AddedToken.Read(part, NoId) with { Special = true }
            : AddedToken.Control(NoId, part.String());
        ControlTokens.Add(token);
        return token.Content;
    }
}
