using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Execution;

/// <summary>A step was chosen, failed in the model, and nothing of it counts: everybody goes on from where he stood.</summary>
/// <remarks>
/// What was written lies behind the tokens computed so far, where nobody looks before it is written again. Only attention sums may
/// have been added to: they are put back, or whoever was observed computes everything anew. Engine thread only.
/// </remarks>
internal sealed class StepReversal(Roster roster, Residency residency, KvMeter meter, SumSnapshot sums)
{
    /// <summary>Takes a step back; the batch is empty afterwards.</summary>
    /// <returns>The only sequence of the step; null when there were more or none.</returns>
    public Sequence? TakeBack(Batch batch)
    {
        Sequence? alone = batch.Items.Length == 1 ? batch.Items[0].Sequence : null;
        batch.RefundTokens();
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            Generation generation = sequence.Generation;
            if (item.IsRider || (sequence.IsObserved && !sums.TryRestore(sequence)))
                Restart(sequence);
            if (!item.IsRider && generation.Sequences.Length > 1 && sequence.GeneratedCount == 0)
                generation.PromptOwner ??= sequence; // its siblings wait for it again
        }

        batch.Clear();
        return alone;
    }

    private void Restart(Sequence sequence)
    {
        meter.NotePreemption(sequence);
        residency.Restart(sequence);
        roster.PutBack(sequence);
    }
}
