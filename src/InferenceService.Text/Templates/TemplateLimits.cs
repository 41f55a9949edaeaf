namespace InferenceService.Text.Templates;

/// <summary>What one template may cost. A template that passes a limit ends in a <see cref="TemplateException"/> that names it.</summary>
public sealed record TemplateLimits
{
    /// <summary>The limits used when none are given.</summary>
    public static TemplateLimits Default { get; } = new();

    /// <summary>Longest template source, in UTF-16 characters. Default 1,048,576.</summary>
    public int MaxSourceChars { get; init; } = 1 << 20;

    /// <summary>
    /// Work of one rendering: one step for each evaluated node or visited element, and one for every 16 characters that an
    /// operation reads or writes. Default 10,000,000 (under a second; a four-million-character prompt needs about a quarter of it).
    /// </summary>
    public long MaxSteps { get; init; } = 10_000_000;

    /// <summary>Macros, call blocks and recursive loops that may be open at once. Default 200.</summary>
    public int MaxRecursion { get; init; } = 200;

    /// <summary>Longest rendered prompt, and longest string made on the way, in UTF-16 characters. Default 16,777,216.</summary>
    public int MaxOutputChars { get; init; } = 1 << 24;

    /// <summary>Depth of nested statements and expressions in the source. Default 200.</summary>
    public int MaxNesting { get; init; } = 200;
}
