namespace InferenceService.Server.Api.Output;

/// <summary>What a route's answers are to the outside.</summary>
/// <param name="Operation">Name of the operation by the GenAI conventions.</param>
/// <param name="PromptField">The field that holds the prompt.</param>
internal sealed record AnswerKind(string Operation, string PromptField)
{
    /// <summary><c>/v1/chat/completions</c>.</summary>
    public static AnswerKind Chat { get; } = new("chat", "messages");

    /// <summary><c>/v1/completions</c>.</summary>
    public static AnswerKind Completion { get; } = new("text_completion", "prompt");
}
