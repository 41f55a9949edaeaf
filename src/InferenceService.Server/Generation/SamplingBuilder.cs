using System.Collections.Immutable;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Models.Checkpoints;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Generation;

/// <summary>Request over checkpoint defaults over OpenAI defaults, and the rules that tie sampling fields together.</summary>
internal static class SamplingBuilder
{
    /// <summary>Resolves the sampling of one request; problems go to the list.</summary>
    /// <param name="topLogprobs">Alternatives to report per generated token; null = no log-probabilities.</param>
    /// <param name="promptLogprobs">The same for prompt tokens.</param>
    /// <param name="choices">Choices generated per prompt.</param>
    /// <param name="prompts">Prompts of the request.</param>
    public static SamplingParams Build(
        GenerationFields fields, ServedModel model, LimitOptions limits, int? topLogprobs, int? promptLogprobs, int choices, int prompts, Problems problems)
    {
        GenerationDefaults defaults = model.Defaults;
        double temperature = fields.Temperature ?? (defaults.DoSample == false ? 0 : defaults.Temperature ?? 1);
        if (temperature == 0 && choices > 1)
            problems.Invalid("n", $"n must be 1 when temperature is 0, since all choices would be equal; got {choices}.");
        EngineOptions engine = model.Engine.Options;
        // One prompt may fill the queue beyond its bound; several would never all be taken.
        int most = model.Engine.MaxChoicesTogether(fields.Client, choices);
        if (prompts > 1 && (long)choices * prompts > most)
            problems.Invalid("n", $"n times the number of prompts must be at most {most}, got {(long)choices * prompts}.");
        if (fields.Priority is not (null or 0) && engine.Scheduling != SchedulingPolicy.Priority)
            problems.Invalid("priority", $"priority must be 0, since this server does not schedule by priority; got {fields.Priority}.");
        int topK = fields.TopK ?? defaults.TopK ?? 0;
        return new SamplingParams
        {
            Temperature = temperature == 0 ? 0 : Math.Max(SamplingParams.LowestTemperature, (float)temperature),
            TopP = (float)(fields.TopP ?? defaults.TopP ?? 1),
            TopK = topK < 0 || topK >= model.Engine.Model.Config.VocabularySize ? 0 : topK,
            MinP = (float)(fields.MinP ?? defaults.MinP ?? 0),
            FrequencyPenalty = (float)fields.FrequencyPenalty,
            PresencePenalty = (float)fields.PresencePenalty,
            RepetitionPenalty = (float)(fields.RepetitionPenalty ?? defaults.RepetitionPenalty ?? 1),
            LogitBias = fields.LogitBias,
            AllowedTokenIds = fields.AllowedTokenIds,
            BadWords = problems.Any ? [] : BadWords(fields.BadWords, model, problems),
            Seed = fields.Seed,
            MinTokens = fields.MinTokens,
            TopLogprobs = topLogprobs ?? -1,
            PromptLogprobs = promptLogprobs ?? -1,
            ProcessedLogprobs = limits.ProcessedLogprobs,
        };
    }

    // A word is forbidden at the start of a text and after a space: most vocabularies have different tokens for the two. One with a
    // token that the model does not know cannot come up.
    private static ImmutableArray<ImmutableArray<int>> BadWords(string[] words, ServedModel model, Problems problems)
    {
        if (words.Length == 0)
            return [];
        var builder = new PromptBuilder(model);
        int vocabulary = model.Engine.Model.Config.VocabularySize;
        var sequences = new List<ImmutableArray<int>>(words.Length * 2);
        foreach (string word in words)
        {
            if (builder.Encode(word, addSpecialTokens: false, "bad_words", problems)?.Ids is not { } alone
                || builder.Encode(" " + word, addSpecialTokens: false, "bad_words", problems)?.Ids is not { } afterSpace)
                return [];
            if (alone.Length > 0 && alone.Max() < vocabulary)
                sequences.Add([.. alone]);
            if (afterSpace.Length > 0 && afterSpace.Max() < vocabulary && !afterSpace.AsSpan().SequenceEqual(alone))
                sequences.Add([.. afterSpace]);
        }

        return [.. sequences];
    }
}
