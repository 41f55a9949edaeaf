using System.Text.Json;
using InferenceService.Server.Api.Requests;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary>Reads <c>tool_calls</c> of an earlier assistant message. Templates expect arguments as a mapping, clients send them as a JSON string.</summary>
internal static class ToolCallReader
{
    /// <summary>The calls; empty when there are none or one is wrong.</summary>
    public static IReadOnlyList<ChatMessage.ToolCall> Read(FieldReader message)
    {
        if (!message.TryArray("tool_calls", 0, ChatMessage.MaxToolCalls, out JsonElement array))
            return [];
        var calls = new List<ChatMessage.ToolCall>(array.GetArrayLength());
        foreach (JsonElement element in array.EnumerateArray())
        {
            string path = message.Path($"tool_calls[{calls.Count}]");
            if (ReadCall(element, path, message.Problems) is not { } call)
                return [];
            calls.Add(call);
        }

        return calls;
    }

    private static ChatMessage.ToolCall? ReadCall(JsonElement element, string path, Problems problems)
    {
        if (element.ValueKind != JsonValueKind.Object || element.GetPropertyCount() > RequestBody.MaxFields)
        {
            problems.Invalid(path, $"{path} must be an object, got {JsonNumber.Show(element)}.");
            return null;
        }

        var json = new FieldReader(element, path + ".", problems);
        string? id = json.Text("id", GenerationFields.MaxNameLength);
        FieldReader? function = json.Object("function");
        if (function is null)
        {
            if (!json.TryGet("function", out _))
                problems.Missing(json.Path("function"));
            return null;
        }

        string? name = function.Text("name", GenerationFields.MaxNameLength);
        if (name is null)
        {
            if (!function.TryGet("name", out _))
                problems.Missing(function.Path("name"));
            return null;
        }

        return ReadArguments(function) is { } arguments ? new ChatMessage.ToolCall(id, name, arguments) : null;
    }

    private static JsonElement? ReadArguments(FieldReader function)
    {
        if (!function.TryGet("arguments", out JsonElement arguments))
        {
            function.Problems.Missing(function.Path("arguments"));
            return null;
        }

        if (arguments.ValueKind == JsonValueKind.Object)
            return arguments;
        if (arguments.ValueKind == JsonValueKind.String && Parse(arguments.GetString()!) is { ValueKind: JsonValueKind.Object } parsed)
            return parsed;
        function.Reject("arguments", "must be a JSON object, written as a string", arguments);
        return null;
    }

    private static JsonElement? Parse(string arguments)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(arguments.Length == 0 ? "{}" : arguments, new JsonDocumentOptions { MaxDepth = RequestBody.MaxDepth });
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
