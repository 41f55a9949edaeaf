using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Scheduling;

/// <summary>Makes room: sequences that may keep less, then those whose callers do not read, then the newest give way.</summary>
/// <remarks>Engine thread only.</remarks>
/// <param name="cache">Whose blocks are short.</param>
/// <param name="residency">Takes sequences out.</param>
/// <param name="compressor">Asks a selector for more than it has to give.</param>
/// <param name="meter">Told what was dropped and who left.</param>
/// <param name="roster">Who runs.</param>
/// <param name="headroom">Free blocks that are spoken for.</param>
/// <param name="endings">Ends a sequence whose selector throws.</param>
/// <param name="time">Clock.</param>
internal sealed class Preemption(
    KvCache cache, Residency residency, KvCompressor compressor, KvMeter meter, Roster roster, Headroom headroom, Endings endings, TimeProvider time)
{
    /// <summary>Sequences put back to waiting, since start.</summary>
    public long Count { get; private set; }

    /// <summary>Its caller does not read.</summary>
    public static bool IsPaused(Sequence sequence) => !sequence.Generation.Channel.HasRoom();

    /// <summary>Until the sequence's next tokens fit; false when it had to give way itself.</summary>
    public bool MakeRoom(Batch batch, Sequence sequence, int count, int reserve)
    {
        while (cache.BlocksToGrow(sequence.Cache!, count) + reserve > headroom.Free)
        {
            if (Yield(batch))
            {
                if (sequence.State != SequenceState.Running)
                    return false; // its own selector failed
                continue;
            }

            Sequence victim = Victim(sequence);
            Preempt(batch, victim);
            if (victim == sequence)
                return false;
            reserve = headroom.Of(sequence, count);
        }

        return true;
    }

    /// <summary>A sequence whose caller does not read makes way for others; false when there is none.</summary>
    public bool ParkPaused(Batch batch)
    {
        for (int i = roster.Running.Count - 1; i >= 0; i--)
        {
            if (batch.Saw(roster.Running[i]) || !IsPaused(roster.Running[i]))
                continue;
            Preempt(batch, roster.Running[i]);
            return true;
        }

        return false;
    }

    /// <summary>Puts every running sequence back to waiting.</summary>
    public void PreemptAll(Batch batch)
    {
        while (roster.Running.Count > 0)
            Preempt(batch, roster.Running[^1]);
    }

    /// <summary>A sequence whose request allows it keeps less, the newest first, before anybody gives way; false when none can.</summary>
    private bool Yield(Batch batch)
    {
        for (int i = roster.Running.Count - 1; i >= 0; i--)
        {
            Sequence sequence = roster.Running[i];
            if (sequence.Selector is not { Yields: true } selector || sequence.Computed < sequence.PromptLength)
                continue;
            long dropped = compressor.DroppedSlots;
            try
            {
                if (!compressor.Yield(sequence.Cache!, selector, sequence.Tokens[..sequence.Computed], sequence.PromptLength, sequence.Computed, headroom.Free))
                    continue;
                meter.NoteDropped(sequence, compressor.DroppedSlots - dropped);
            }
            catch (Exception failure) when (Generation.IsItsOwn(failure))
            {
                batch.Remove(sequence);
                endings.Refuse(sequence, sequence.Generation.PolicyFault(failure));
                return true;
            }

            // Gathered tables end with their last slot, so one that already has its place in this step grows again, by no more than it
            // gave; and a head that now ranks its slots must be observed.
            if (batch.Saw(sequence))
            {
                cache.Grow(sequence.Cache!, batch.TokensOf(sequence));
                if (!endings.TryWatch(sequence, batch.TokensOf(sequence)))
                    batch.Remove(sequence);
            }

            return true;
        }

        return false;
    }

    private Sequence Victim(Sequence inNeed)
    {
        for (int i = roster.Running.Count - 1; i >= 0; i--)
            if (roster.Running[i] != inNeed && IsPaused(roster.Running[i]))
                return roster.Running[i];
        return roster.Running[^1];
    }

    private void Preempt(Batch batch, Sequence sequence)
    {
        batch.Remove(sequence);
        meter.NotePreemption(sequence);
        residency.Leave(sequence);
        roster.PutBack(sequence);
        sequence.Generation.MarkPreempted(sequence.Choice, time.GetTimestamp());
        Count++;
    }
}
