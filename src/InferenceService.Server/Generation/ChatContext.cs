using System.Text.Json;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Text.Templates;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Generation;

/// <summary>The variables that a chat template sees.</summary>
internal static class ChatContext
{
    /// <summary>Appended to a last message that is to be continued: the prompt ends where it shows up.</summary>
    internal const string ContinueMark = "@@continue-from-here@@";

    private static readonly Value FunctionType = Value.Of("function");

    /// <summary>Fills the variables.</summary>
    /// <exception cref="TemplateException">A JSON value of the request has no counterpart in the template language.</exception>
    /// <param name="defaults">JSON object of variables that the request may overwrite; null = none.</param>
    public static TemplateContext Build(ChatPromptFields chat, ChatTemplate template, Tokenizer tokenizer, string? defaults, TimeProvider time)
    {
        var context = new TemplateContext { Time = time };
        var messages = new List<Value>(chat.Messages.Count);
        for (int i = 0; i < chat.Messages.Count; i++)
            messages.Add(Message(chat.Messages[i], template, isContinued: chat.ContinueFinalMessage && i == chat.Messages.Count - 1));
        context.Set("messages", Value.List(messages));
        context.Set("tools", Value.None);
        context.Set("documents", chat.Documents.ValueKind == JsonValueKind.Array ? Value.FromJson(chat.Documents) : Value.None);
        context.Set("add_generation_prompt", Value.Of(chat.AddGenerationPrompt));
        SetToken(context, "bos_token", tokenizer.BosToken);
        SetToken(context, "eos_token", tokenizer.EosToken);
        SetToken(context, "pad_token", tokenizer.PadToken);
        SetToken(context, "unk_token", tokenizer.UnkToken);
        if (defaults is not null)
        {
            using JsonDocument document = JsonDocument.Parse(defaults);
            SetAll(context, document.RootElement);
        }

        if (chat.ReasoningEffort is { } effort)
        {
            context.Set("reasoning_effort", Value.Of(effort));
            if (effort == "none")
                context.Set("enable_thinking", Value.Of(false));
        }

        if (chat.Variables.ValueKind == JsonValueKind.Object)
            SetAll(context, chat.Variables);
        return context;
    }

    private static void SetAll(TemplateContext context, JsonElement variables)
    {
        foreach (JsonProperty variable in variables.EnumerateObject())
            context.Set(variable.Name, Value.FromJson(variable.Value));
    }

    private static void SetToken(TemplateContext context, string name, string? token)
    {
        if (token is not null)
            context.Set(name, Value.Of(token));
    }

    private static Value Message(ChatMessage message, ChatTemplate template, bool isContinued)
    {
        string role = message.Role == "developer" && !template.HandlesDeveloperRole ? "system" : message.Role;
        var fields = new List<KeyValuePair<string, Value>>(6)
        {
            new("role", Value.Of(role)),
            new("content", Content(message, template, isContinued)),
        };
        if (message.Name is { } name)
            fields.Add(new("name", Value.Of(name)));
        if (message.Reasoning is { } reasoning)
            fields.Add(new("reasoning_content", Value.Of(reasoning)));
        if (message.ToolCallId is { } id)
            fields.Add(new("tool_call_id", Value.Of(id)));
        if (message.ToolCalls.Count > 0)
            fields.Add(new("tool_calls", Value.List(message.ToolCalls.Select(Call))));
        return Value.Dict(fields);
    }

    private static Value Content(ChatMessage message, ChatTemplate template, bool isContinued)
    {
        if (!isContinued && message.Parts is { } parts && template.HandlesContentParts)
            return Value.List(parts.Select(Part));
        string? text = isContinued ? message.Text + ContinueMark : message.Text;
        if (text is null)
            return Value.None;
        return template.RequiresContentParts ? Value.List(Part(text)) : Value.Of(text);
    }

    private static Value Part(string text) =>
        Value.Dict(new KeyValuePair<string, Value>("type", Value.Of("text")), new KeyValuePair<string, Value>("text", Value.Of(text)));

    private static Value Call(ChatMessage.ToolCall call)
    {
        Value function = Value.Dict(
            new KeyValuePair<string, Value>("name", Value.Of(call.Name)), new KeyValuePair<string, Value>("arguments", Value.FromJson(call.Arguments)));
        var fields = new List<KeyValuePair<string, Value>>(3);
        if (call.Id is { } id)
            fields.Add(new("id", Value.Of(id)));
        fields.Add(new("type", FunctionType));
        fields.Add(new("function", function));
        return Value.Dict(fields);
    }
}
