using InferenceService.Server.Api.Requests;

namespace InferenceService.Server.Generation;

/// <summary>How a request wants its token ids turned into text.</summary>
/// <param name="Stops">Stop strings.</param>
/// <param name="IncludeStop">The stop string, or the stop token's text, belongs to the output.</param>
/// <param name="SkipSpecialTokens">Special tokens have no text.</param>
/// <param name="MinTokens">Stop strings are looked for only in text after so many tokens.</param>
/// <param name="KeepTokens">Tokens are kept beside the text, for log-probabilities or ids.</param>
internal sealed record TextOptions(StopSequences Stops, bool IncludeStop, bool SkipSpecialTokens, int MinTokens, bool KeepTokens)
{
    /// <summary>From the request's fields.</summary>
    public static TextOptions From(GenerationFields fields, bool keepTokens) =>
        new(new StopSequences(fields.Stop), fields.IncludeStopString, fields.SkipSpecialTokens, fields.MinTokens, keepTokens);
}
