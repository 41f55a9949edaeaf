namespace InferenceService.Text.Templates;

/// <summary>A chat template: the Jinja program, shipped with a model, that turns messages into a prompt.</summary>
/// <remarks>
/// Renders as Hugging Face does: Jinja2 3.1 in its immutable sandbox, <c>trim_blocks</c> and <c>lstrip_blocks</c> on, loop controls,
/// <c>generation</c> blocks printed as they are. Immutable; any number of threads may render it at once.
/// </remarks>
public sealed class ChatTemplate
{
    private readonly List<Stmt> _body;
    private readonly FunctionLayout _layout;
    private readonly VariableLoad[] _scope;
    private readonly TemplateLimits _limits;
    private readonly Lazy<TemplateFeatures> _features;

    private ChatTemplate(string source, TemplateLimits limits)
    {
        _limits = limits;
        _body = Parser.Parse(source, limits);
        (_layout, _scope) = Resolver.Resolve(_body);
        _features = new Lazy<TemplateFeatures>(() => TemplateFeatures.Find(this, _body));
    }

    /// <summary>Whether the template walks <c>message.content</c> as a list of parts; if not, send it as one string.</summary>
    public bool HandlesContentParts => _features.Value.ContentParts;

    /// <summary>Whether the template shows only parts: content sent as one string would be lost, so it must become a list of one text part.</summary>
    public bool RequiresContentParts => _features.Value.OnlyParts;

    /// <summary>Whether the template reads <c>tools</c>.</summary>
    public bool HandlesTools => _features.Value.Tools;

    /// <summary>Whether a conversation that starts with a system message renders, and shows that message.</summary>
    public bool SupportsSystemRole => _features.Value.SystemRole;

    /// <summary>Whether a <c>developer</c> message renders and shows; if not, send it as <c>system</c>.</summary>
    public bool HandlesDeveloperRole => _features.Value.DeveloperRole;

    /// <summary>Reads a template.</summary>
    /// <exception cref="TemplateException">The source is not a template, uses a tag that is refused, or passes a limit.</exception>
    public static ChatTemplate Parse(string source, TemplateLimits? limits = null) => new(source, limits ?? TemplateLimits.Default);

    /// <summary>Renders the prompt.</summary>
    /// <exception cref="TemplateException">The template raised an error, used an undefined value wrongly, or passed a limit.</exception>
    public string Render(TemplateContext context) => new Interpreter(context, new Budget(_limits)).Run(_body, _layout, _scope);
}
