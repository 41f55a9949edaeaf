namespace InferenceService.Engine.Sampling;

/// <summary>Divides positive and multiplies negative logits of tokens in prompt or output (CTRL, arXiv:1909.05858, section 4.1).</summary>
internal sealed class RepetitionPenalty : ILogitsProcessor
{
    public bool Applies(Sequence sequence) => sequence.Sampling.Params.RepetitionPenalty != 1;

    public void Apply(Sequence sequence, Span<float> logits)
    {
        float penalty = sequence.Sampling.Params.RepetitionPenalty;
        TokenCounts counts = sequence.Sampling.Counts!;
        for (int slot = 0; slot < counts.Capacity; slot++)
        {
            int id = counts.Entry(slot).Id;
            if (id >= 0)
                logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
        }
    }
}
