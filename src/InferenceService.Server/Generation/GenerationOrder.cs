using InferenceService.Engine;

namespace InferenceService.Server.Generation;

/// <summary>A whole request, ready for the engine: one order per prompt, and how its answer becomes text.</summary>
internal sealed record GenerationOrder
{
    /// <summary>Last prompt tokens that a choice's text continues, so that its first token keeps a leading space.</summary>
    internal const int PromptTail = 16;

    /// <summary>The prompts.</summary>
    public required IReadOnlyList<Prompt> Prompts { get; init; }

    /// <summary>What the engine is asked, one per prompt.</summary>
    public required IReadOnlyList<GenerationRequest> Requests { get; init; }

    /// <summary>Choices generated for each prompt.</summary>
    public required int ChoicesPerPrompt { get; init; }

    /// <summary>From ids to text.</summary>
    public required TextOptions Text { get; init; }

    /// <summary>How long it may take; null = the request does not say.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Tokens of all prompts.</summary>
    public long PromptTokens => Prompts.Sum(prompt => (long)prompt.Ids.Length);

    /// <summary>Tokens that all choices together may generate.</summary>
    public long OutputTokens => Requests.Sum(request => (long)request.MaxTokens * request.Choices);

    /// <summary>What stands before each prompt's answers; null = nothing.</summary>
    public IReadOnlyList<PromptEcho>? Echoes { get; init; }
}
