using System.Collections.Immutable;

namespace InferenceService.Engine.Sampling;

/// <summary>Masks the last token of a forbidden sequence whose other tokens were just generated. The prompt does not count.</summary>
internal sealed class BadWords : ILogitsProcessor
{
    public bool Applies(Sequence sequence) => !sequence.Sampling.Params.BadWords.IsDefaultOrEmpty;

    public void Apply(Sequence sequence, Span<float> logits)
    {
        ReadOnlySpan<int> generated = sequence.Generated;
        foreach (ImmutableArray<int> word in sequence.Sampling.Params.BadWords.AsSpan())
        {
            ReadOnlySpan<int> begin = word.AsSpan()[..^1];
            if (generated.EndsWith(begin))
                logits[word[^1]] = float.NegativeInfinity;
        }
    }
}
