using System.Collections.Immutable;

namespace InferenceService.Engine.Sampling;

/// <summary>Does a choice end with its latest token? EOS before stop ids before length.</summary>
internal sealed class StopRule(ImmutableArray<int> eosTokenIds)
{
    /// <summary>Looks at a sequence whose latest token was just appended.</summary>
    public FinishReason Check(Sequence sequence)
    {
        GenerationRequest request = sequence.Request;
        int token = sequence.Tokens[^1];
        if (!request.IgnoreEos && eosTokenIds.AsSpan().Contains(token))
            return FinishReason.Eos;
        if (!request.StopTokenIds.IsDefault && request.StopTokenIds.AsSpan().Contains(token))
            return FinishReason.StopToken;
        return sequence.GeneratedCount >= request.MaxTokens ? FinishReason.Length : FinishReason.None;
    }
}
