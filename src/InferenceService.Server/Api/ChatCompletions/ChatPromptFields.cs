using System.Text.Json;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary>The fields of a request that decide how a conversation becomes a prompt; shared by chat, render and tokenize.</summary>
/// <remarks>JSON elements in it are valid until the request body is disposed.</remarks>
internal sealed record ChatPromptFields
{
    /// <summary>Most messages of a conversation.</summary>
    internal const int MaxMessages = 16_384;

    /// <summary>Largest <c>chat_template_kwargs</c> and <c>documents</c>, in characters of JSON.</summary>
    internal const int MaxVariableChars = 65_536;

    private static readonly string[] Reserved = ["messages", "tools", "bos_token", "chat_template"];
    private static readonly string[] Efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

    /// <summary>At least one, unless there were problems.</summary>
    public required IReadOnlyList<ChatMessage> Messages { get; init; }

    public bool AddGenerationPrompt { get; private init; } = true;
    public bool ContinueFinalMessage { get; private init; }
    public bool AddSpecialTokens { get; private init; }

    /// <summary>A template that replaces the model's; set only where requests may bring one.</summary>
    public string? Template { get; private init; }

    /// <summary>Template variables by name: an object, or undefined.</summary>
    public JsonElement Variables { get; private init; }

    /// <summary>An array, or undefined.</summary>
    public JsonElement Documents { get; private init; }

    public string? ReasoningEffort { get; private init; }

    /// <summary>Reads the fields; problems go to the reader's list.</summary>
    public static ChatPromptFields Read(FieldReader json, LimitOptions limits)
    {
        bool proceed = json.Bool("continue_final_message") ?? false;
        bool? addGenerationPrompt = json.Bool("add_generation_prompt");
        if (proceed && addGenerationPrompt == true)
            json.Problems.Invalid("continue_final_message", "continue_final_message and add_generation_prompt cannot both be true.");
        return new ChatPromptFields
        {
            Messages = ReadMessages(json),
            AddGenerationPrompt = addGenerationPrompt ?? !proceed,
            ContinueFinalMessage = proceed,
            AddSpecialTokens = json.Bool("add_special_tokens") ?? false,
            Template = ReadTemplate(json, limits),
            Variables = ReadVariables(json),
            Documents = ReadDocuments(json),
            ReasoningEffort = ReadEffort(json),
        };
    }

    private static List<ChatMessage> ReadMessages(FieldReader json)
    {
        var messages = new List<ChatMessage>();
        if (!json.TryGet("messages", out _))
            json.Problems.Missing("messages");
        else if (json.TryArray("messages", 1, MaxMessages, out JsonElement array))
        {
            int index = 0;
            foreach (JsonElement element in array.EnumerateArray())
            {
                if (ChatMessage.Read(element, $"messages[{index++}]", json.Problems) is { } message)
                    messages.Add(message);
            }
        }

        return messages;
    }

    private static string? ReadTemplate(FieldReader json, LimitOptions limits)
    {
        if (json.Text("chat_template") is not { } template)
            return null;
        if (limits.TrustRequestChatTemplate)
            return template;
        json.Problems.Add(new ApiError(403, "permission_error", "insufficient_permissions", "chat_template: this server does not run templates from requests.", "chat_template"));
        return null;
    }

    private static JsonElement ReadVariables(FieldReader json)
    {
        if (json.Object("chat_template_kwargs") is null || !json.TryGet("chat_template_kwargs", out JsonElement variables))
            return default;
        foreach (JsonProperty variable in variables.EnumerateObject())
        {
            if (Reserved.Contains(variable.Name, StringComparer.Ordinal))
                json.Problems.Invalid($"chat_template_kwargs.{variable.Name}", $"chat_template_kwargs may not set {variable.Name}.");
        }

        return Bounded(json, "chat_template_kwargs", variables);
    }

    private static JsonElement ReadDocuments(FieldReader json) =>
        json.TryArray("documents", 0, MaxMessages, out JsonElement documents) ? Bounded(json, "documents", documents) : default;

    private static JsonElement Bounded(FieldReader json, string name, JsonElement value)
    {
        int size = value.GetRawText().Length;
        if (size <= MaxVariableChars)
            return value;
        json.Problems.Invalid(name, $"{name} must be at most {MaxVariableChars} characters of JSON, got {size}.");
        return default;
    }

    private static string? ReadEffort(FieldReader json)
    {
        string? effort = json.Text("reasoning_effort");
        if (effort is null || Efforts.Contains(effort, StringComparer.Ordinal))
            return effort;
        json.Problems.Invalid("reasoning_effort", $"reasoning_effort must be one of {string.Join(", ", Efforts)}, got \"{JsonNumber.Clean(effort)}\".");
        return null;
    }
}
