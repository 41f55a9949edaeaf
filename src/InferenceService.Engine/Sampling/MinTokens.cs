using System.Collections.Immutable;

namespace InferenceService.Engine.Sampling;

/// <summary>Masks everything that would end the choice until enough tokens are generated.</summary>
internal sealed class MinTokens(ImmutableArray<int> eosTokenIds) : ILogitsProcessor
{
    public bool Applies(Sequence sequence) => sequence.GeneratedCount < sequence.Sampling.Params.MinTokens;

    public void Apply(Sequence sequence, Span<float> logits)
    {
        if (!sequence.Request.IgnoreEos)
            Mask(eosTokenIds, logits);
        if (!sequence.Request.StopTokenIds.IsDefault)
            Mask(sequence.Request.StopTokenIds, logits);
    }

    private static void Mask(ImmutableArray<int> ids, Span<float> logits)
    {
        foreach (int id in ids.AsSpan())
            if ((uint)id < (uint)logits.Length)
                logits[id] = float.NegativeInfinity;
    }
}
