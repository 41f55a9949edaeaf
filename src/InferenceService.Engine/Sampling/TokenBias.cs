namespace InferenceService.Engine.Sampling;

/// <summary>Adds the request's logit bias.</summary>
internal sealed class TokenBias : ILogitsProcessor
{
    public bool Applies(Sequence sequence) => !sequence.Sampling.Params.LogitBias.IsDefaultOrEmpty;

    public void Apply(Sequence sequence, Span<float> logits)
    {
        foreach (LogitBias entry in sequence.Sampling.Params.LogitBias.AsSpan())
            logits[entry.TokenId] += entry.Bias;
    }
}
