namespace InferenceService.Engine.Sampling;

/// <summary>Subtracts the frequency penalty once per earlier occurrence and the presence penalty once, over generated tokens.</summary>
internal sealed class OccurrencePenalty : ILogitsProcessor
{
    public bool Applies(Sequence sequence) =>
        sequence.Sampling.Params is not { FrequencyPenalty: 0, PresencePenalty: 0 } && sequence.GeneratedCount > 0;

    public void Apply(Sequence sequence, Span<float> logits)
    {
        (float frequency, float presence) = (sequence.Sampling.Params.FrequencyPenalty, sequence.Sampling.Params.PresencePenalty);
        TokenCounts counts = sequence.Sampling.Counts!;
        for (int slot = 0; slot < counts.Capacity; slot++)
        {
            (int id, int generated) = counts.Entry(slot);
            if (id < 0 || generated == 0)
                continue;
            logits[id] -= frequency * generated;
            logits[id] -= presence;
        }
    }
}
