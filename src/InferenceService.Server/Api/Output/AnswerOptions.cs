using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Api.Output;

/// <summary>What the client wants to see besides the text.</summary>
/// <param name="Logprobs">Alternatives per token; null = no log-probabilities.</param>
/// <param name="TokensAsIds">Tokens are written as <c>token_id:N</c>.</param>
/// <param name="ReturnTokenIds">Ids of prompt and answer are returned.</param>
/// <param name="PromptLogprobs">Log-probabilities of the prompt are returned.</param>
/// <param name="KvReport">The usage tells what the KV cache held.</param>
/// <param name="UsageChunk">A stream ends with a chunk that carries the usage; the other chunks say null.</param>
/// <param name="RunningUsage">Every chunk carries the usage so far.</param>
/// <param name="Interval">Tokens per event after the first.</param>
internal sealed record AnswerOptions(
    int? Logprobs, bool TokensAsIds, bool ReturnTokenIds, bool PromptLogprobs, bool KvReport, bool UsageChunk, bool RunningUsage, int Interval)
{
    /// <summary>From the request's fields and the server's settings.</summary>
    /// <param name="kvReport">The server reports on the KV cache whether asked to or not. Only a request that asks gets a usage chunk for it.</param>
    public static AnswerOptions From(GenerationFields fields, int? logprobs, StreamingOptions streaming, bool kvReport) => new(
        logprobs, fields.TokensAsIds, fields.ReturnTokenIds, fields.PromptLogprobs is not null, fields.KvReport || kvReport,
        fields.Stream.IncludeUsage || fields.KvReport || streaming.ForceIncludeUsage, fields.Stream.ContinuousUsage, fields.Stream.Interval ?? streaming.StreamInterval);
}
