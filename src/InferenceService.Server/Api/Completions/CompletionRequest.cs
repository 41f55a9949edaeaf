using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Completions;

/// <summary>Body of <c>POST /v1/completions</c>, every field within its own range.</summary>
internal sealed record CompletionRequest
{
    private const int MaxBestOf = 20;

    public required GenerationFields Generation { get; init; }

    /// <summary>At least one, unless there were problems.</summary>
    public required IReadOnlyList<PromptInput> Prompts { get; init; }

    /// <summary>Whether the prompts came as an array of prompts, so that problems name their index.</summary>
    public required bool IsPromptArray { get; init; }

    public bool Echo { get; private init; }

    /// <summary>Alternatives a token; null = no log-probabilities.</summary>
    public int? Logprobs { get; private init; }

    /// <summary>Choices to generate, of which the n best are returned.</summary>
    public int BestOf { get; private init; }

    public bool AddSpecialTokens { get; private init; }

    /// <summary>Reads the body; problems go to the reader's list.</summary>
    public static CompletionRequest Read(FieldReader json, LimitOptions limits, ServedModel model)
    {
        int vocabulary = model.Engine.Model.Config.VocabularySize;
        bool echo = json.Bool("echo") ?? false;
        GenerationFields generation = GenerationFields.Read(json, limits, ["max_tokens"], echo ? 0 : 1, vocabulary);
        if (json.Text("suffix") is { Length: > 0 })
            json.Problems.Unsupported("suffix", "suffix: this model has no fill-in-the-middle tokens.");
        IReadOnlyList<PromptInput> prompts = new PromptField(json, limits, model, generation).Read(out bool isArray);
        var request = new CompletionRequest
        {
            Generation = generation,
            Prompts = prompts,
            IsPromptArray = isArray,
            Echo = echo,
            Logprobs = (int?)json.Integer("logprobs", 0, limits.MaxLogprobs),
            BestOf = ReadBestOf(json, generation),
            AddSpecialTokens = json.Bool("add_special_tokens") ?? true,
        };
        if (generation.Stream.Enabled && generation.PromptLogprobs is not null)
            json.Problems.Invalid("prompt_logprobs", "prompt_logprobs cannot be streamed.");
        return request;
    }

    private static int ReadBestOf(FieldReader json, GenerationFields generation)
    {
        int bestOf = (int)(json.Integer("best_of", 0, MaxBestOf) ?? 0);
        if (bestOf == 0)
            return generation.N;
        if (bestOf < generation.N)
            json.Problems.Invalid("best_of", $"best_of must be at least n, which is {generation.N}, got {bestOf}.");
        if (bestOf > generation.N && generation.Stream.Enabled)
            json.Problems.Invalid("best_of", $"best_of above n cannot be streamed, got {bestOf} with n {generation.N}.");
        return Math.Max(bestOf, generation.N);
    }
}
