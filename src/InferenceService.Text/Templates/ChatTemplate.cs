namespace InferenceService.Text.Templates;

/// <summary>A chat template: the Jinja program, shipped with a model, that turns messages into a prompt.</summary>
/// <remarks>Immutable; any number of threads may render it at once.</remarks>
public sealed class ChatTemplate
{
    private ChatTemplate()
    {
    }

    /// <summary>Whether the template walks <c>message.content</c> as a list of parts; if not, send it as one string.</summary>
    public bool HandlesContentParts => throw new NotImplementedException();

    /// <summary>Whether the template reads <c>tools</c>.</summary>
    public bool HandlesTools => throw new NotImplementedException();

    /// <summary>Whether a conversation that starts with a system message renders, and shows that message.</summary>
    public bool SupportsSystemRole => throw new NotImplementedException();

    /// <summary>Whether a <c>developer</c> message renders and shows; if not, send it as <c>system</c>.</summary>
    public bool HandlesDeveloperRole => throw new NotImplementedException();

    /// <summary>Reads a template.</summary>
    /// <exception cref="TemplateException">The source is not a template, uses a tag that is refused, or passes a limit.</exception>
    public static ChatTemplate Parse(string source, TemplateLimits? limits = null) => throw new NotImplementedException();

    /// <summary>Renders the prompt.</summary>
    /// <exception cref="TemplateException">The template raised an error, used an undefined value wrongly, or passed a limit.</exception>
    public string Render(TemplateContext context) => throw new NotImplementedException();
}
