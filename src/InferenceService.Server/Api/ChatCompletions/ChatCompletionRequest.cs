using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary>Body of <c>POST /v1/chat/completions</c>, every field within its own range.</summary>
internal sealed record ChatCompletionRequest
{
    public required GenerationFields Generation { get; init; }
    public required ChatPromptFields Prompt { get; init; }

    /// <summary>The answer begins with the last message's content.</summary>
    public bool Echo { get; private init; }

    /// <summary>Alternatives a token; null = no log-probabilities.</summary>
    public int? TopLogprobs { get; private init; }

    /// <summary>Reads the body; problems go to the reader's list.</summary>
    public static ChatCompletionRequest Read(FieldReader json, LimitOptions limits, int vocabulary)
    {
        ChatPromptFields prompt = ChatPromptFields.Read(json, limits);
        GenerationFields generation = GenerationFields.Read(json, limits, ["max_completion_tokens", "max_tokens"], 1, vocabulary);
        json.Bool("include_reasoning");
        bool logprobs = json.Bool("logprobs") ?? false;
        int top = (int)(json.Integer("top_logprobs", 0, limits.MaxLogprobs) ?? 0);
        if (top > 0 && !logprobs)
            json.Problems.Invalid("top_logprobs", $"top_logprobs needs logprobs to be true, got {top}.");
        if (generation.Stream.Enabled && generation.PromptLogprobs is not null)
            json.Problems.Invalid("prompt_logprobs", "prompt_logprobs cannot be streamed.");
        return new ChatCompletionRequest
        {
            Generation = generation,
            Prompt = prompt,
            Echo = json.Bool("echo") ?? false,
            TopLogprobs = logprobs ? top : null,
        };
    }
}
