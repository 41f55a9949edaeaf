using System.Text.Json;
using InferenceService.Server.Api.Requests;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary>One message of a conversation.</summary>
internal sealed record ChatMessage
{
    /// <summary>Most parts of one message's content.</summary>
    internal const int MaxParts = 4096;

    /// <summary>Most <c>tool_calls</c> of one message.</summary>
    internal const int MaxToolCalls = 128;

    public required string Role { get; init; }

    /// <summary>Content as one text, or null when the client sent none.</summary>
    public string? Text { get; private init; }

    /// <summary>Content as text parts, when the client sent a list.</summary>
    public IReadOnlyList<string>? Parts { get; private init; }

    public string? Name { get; private init; }
    public string? ToolCallId { get; private init; }
    public string? Reasoning { get; private init; }

    /// <summary>Calls an assistant message made earlier.</summary>
    public IReadOnlyList<ToolCall> ToolCalls { get; private init; } = [];

    /// <summary>A function call in an assistant message.</summary>
    /// <param name="Arguments">A JSON object; not valid after the request body is disposed.</param>
    internal readonly record struct ToolCall(string? Id, string Name, JsonElement Arguments);

    /// <summary>Reads <c>messages[index]</c>; problems go to the reader's list.</summary>
    public static ChatMessage? Read(JsonElement element, string path, Problems problems)
    {
        if (element.ValueKind != JsonValueKind.Object || element.GetPropertyCount() > RequestBody.MaxFields)
        {
            problems.Invalid(path, $"{path} must be an object of at most {RequestBody.MaxFields} fields, got {JsonNumber.Show(element)}.");
            return null;
        }

        var json = new FieldReader(element, path + ".", problems);
        string? role = json.Text("role");
        if (role is null)
        {
            if (!json.TryGet("role", out _))
                problems.Missing(json.Path("role"));
            return null;
        }

        if (role is not ("system" or "developer" or "user" or "assistant" or "tool" or "function"))
        {
            problems.Invalid(json.Path("role"), $"{json.Path("role")} must be system, developer, user, assistant, tool or function, got \"{JsonNumber.Clean(role)}\".");
            return null;
        }

        IReadOnlyList<ToolCall> calls = role == "assistant" ? ToolCallReader.Read(json) : [];
        IReadOnlyList<string>? parts = ReadContent(json, optional: role == "assistant" && (calls.Count > 0 || json.TryGet("refusal", out _)), out string? text);
        return new ChatMessage
        {
            Role = role,
            Text = text,
            Parts = parts,
            Name = json.Text("name"),
            ToolCallId = json.Text("tool_call_id"),
            Reasoning = json.Text("reasoning_content") ?? json.Text("reasoning"),
            ToolCalls = calls,
        };
    }

    private static List<string>? ReadContent(FieldReader json, bool optional, out string? text)
    {
        text = null;
        if (!json.TryGet("content", out JsonElement content))
        {
            if (!optional)
                json.Problems.Missing(json.Path("content"));
            return null;
        }

        if (content.ValueKind == JsonValueKind.String)
        {
            text = content.GetString();
            return null;
        }

        if (content.ValueKind != JsonValueKind.Array)
        {
            json.Reject("content", "must be a string or an array of parts", content);
            return null;
        }

        if (!json.TryArray("content", 1, MaxParts, out _))
            return null;
        var parts = new List<string>(content.GetArrayLength());
        foreach (JsonElement part in content.EnumerateArray())
        {
            if (ReadPart(part, json.Path($"content[{parts.Count}]"), json.Problems) is not { } partText)
                return null;
            parts.Add(partText);
        }

        text = string.Join('\n', parts);
        return parts;
    }

    private static string? ReadPart(JsonElement part, string path, Problems problems)
    {
        if (part.ValueKind == JsonValueKind.String)
            return part.GetString();
        if (part.ValueKind != JsonValueKind.Object || part.GetPropertyCount() > RequestBody.MaxFields)
        {
            problems.Invalid(path, $"{path} must be an object, got {JsonNumber.Show(part)}.");
            return null;
        }

        var json = new FieldReader(part, path + ".", problems);
        string? type = json.Text("type");
        string? field = type switch
        {
            "text" or "input_text" or "output_text" => "text",
            "refusal" => "refusal",
            _ => null,
        };
        if (field is null)
        {
            if (type is "image_url" or "input_image" or "image" or "input_audio" or "audio_url" or "file" or "input_file" or "video_url")
                problems.Unsupported(path, $"{path}: this model reads text only, got a part of type {type}.");
            else if (type is not null)
                problems.Invalid(json.Path("type"), $"{json.Path("type")} must be text, got \"{JsonNumber.Clean(type)}\".");
            else if (!json.TryGet("type", out _))
                problems.Missing(json.Path("type"));
            return null;
        }

        string? text = json.Text(field);
        if (text is null && !json.TryGet(field, out _))
            problems.Missing(json.Path(field));
        return text;
    }
}
