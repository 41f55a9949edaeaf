namespace InferenceService.Engine.Sampling;

/// <summary>Masks every token that is not on the request's white list.</summary>
internal sealed class AllowedTokens(int vocabulary) : ILogitsProcessor
{
    private readonly float[] _kept = new float[vocabulary];

    public bool Applies(Sequence sequence) => !sequence.Sampling.Params.AllowedTokenIds.IsDefault;

    public void Apply(Sequence sequence, Span<float> logits)
    {
        ReadOnlySpan<int> allowed = sequence.Sampling.Params.AllowedTokenIds.AsSpan();
        foreach (int id in allowed)
            _kept[id] = logits[id];
        logits.Fill(float.NegativeInfinity);
        foreach (int id in allowed)
            logits[id] = _kept[id];
    }
}
