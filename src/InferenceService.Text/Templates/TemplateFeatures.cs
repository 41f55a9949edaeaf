using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>What a template can do with a conversation, found by rendering small ones and looking for marked texts in the prompt.</summary>
internal sealed record TemplateFeatures(bool ContentParts, bool OnlyParts, bool Tools, bool SystemRole, bool DeveloperRole)
{
    // Words no template contains.
    private const string Marker = "qzxmarkqzx";
    private const string Hidden = "qzxhiddenqzx";

    public static TemplateFeatures Find(ChatTemplate template, List<Stmt> body)
    {
        bool parts = ShowsParts(template);
        bool onlyParts = parts && !Shows(template, [Message("user", Value.Of(Marker))]);
        Value user = Message("user", Text("Hi"));

        // A template that needs more than a user's message tells nothing here; the request itself will.
        bool system = Shows(template, [Message("system", Text(Marker)), user]) || Render(template, [user]) is null;
        bool developer = Mentions(body, node => node is ConstExpr { Value: StringValue { Text: "developer" } })
            && Shows(template, [Message("developer", Text(Marker)), user]);
        bool tools = Mentions(body, node => node is NameExpr { Name: "tools", Use: NameUse.Load })
            && (Render(template, [user], Tool()) is not { } prompt || prompt.Contains(Marker, StringComparison.Ordinal));
        return new TemplateFeatures(parts, onlyParts, tools, system, developer);

        Value Text(string text) => onlyParts ? Value.List(Value.Dict(new("type", Value.Of("text")), new("text", Value.Of(text)))) : Value.Of(text);
    }

    /// <summary>Whether a text part shows as its text alone, not as the notation of the whole part.</summary>
    private static bool ShowsParts(ChatTemplate template)
    {
        Value part = Value.Dict(
            new("type", Value.Of("text")),
            new("text", Value.Of(Marker)),
            new("unused", Value.Of(Hidden)));
        return Render(template, [Message("user", Value.List(part))]) is { } prompt
            && prompt.Contains(Marker, StringComparison.Ordinal)
            && !prompt.Contains(Hidden, StringComparison.Ordinal);
    }

    private static bool Shows(ChatTemplate template, Value[] messages) =>
        Render(template, messages)?.Contains(Marker, StringComparison.Ordinal) ?? false;

    private static Value Message(string role, Value content) =>
        Value.Dict(new("role", Value.Of(role)), new("content", content));

    private static Value Tool()
    {
        Value parameters = Value.Dict(
            new("type", Value.Of("object")),
            new("properties", Value.Dict(new KeyValuePair<string, Value>(
                "city", Value.Dict(new("type", Value.Of("string")), new("description", Value.Of("A city")))))),
            new("required", Value.List(Value.Of("city"))));
        Value function = Value.Dict(
            new("name", Value.Of(Marker)),
            new("description", Value.Of("A tool")),
            new("parameters", parameters));
        return Value.List(Value.Dict(new("type", Value.Of("function")), new("function", function)));
    }

    /// <summary>The prompt, or null if the template refuses or fails.</summary>
    private static string? Render(ChatTemplate template, Value[] messages, Value? tools = null)
    {
        TemplateContext context = new TemplateContext()
            .Set("messages", Value.List(messages))
            .Set("tools", tools ?? Value.None)
            .Set("documents", Value.None)
            .Set("add_generation_prompt", Value.Of(true))
            .Set("bos_token", Value.Of("<s>"))
            .Set("eos_token", Value.Of("</s>"));
        try
        {
            return template.Render(context);
        }
        catch (TemplateException)
        {
            return null;
        }
    }

    private static bool Mentions(IEnumerable<Node?> nodes, Func<Node, bool> wanted) =>
        nodes.Any(node => node is not null && (wanted(node) || Mentions(node.Children, wanted)));
}
