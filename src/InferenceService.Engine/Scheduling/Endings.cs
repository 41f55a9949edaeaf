namespace InferenceService.Engine.Scheduling;

/// <summary>Ends sequences, wherever they stand: they hold nothing afterwards.</summary>
/// <remarks>Engine thread only.</remarks>
internal sealed class Endings(Roster roster, KvMeter meter, Residency residency)
{
    /// <summary>Ended with an error outside a batch, and not yet told; the caller empties it.</summary>
    public List<Sequence> Failed { get; } = [];

    /// <summary>Ends a sequence.</summary>
    public void End(Sequence sequence)
    {
        roster.End(sequence);
        meter.NoteEnd(sequence);
        residency.Release(sequence);
        if (sequence.Generation.PromptOwner == sequence)
            sequence.Generation.PromptOwner = null;
    }

    /// <summary>Ends every running sequence that has a reason to end.</summary>
    public void Retire()
    {
        for (int i = roster.Running.Count - 1; i >= 0; i--)
            if (roster.Running[i].Finish != FinishReason.None)
                End(roster.Running[i]);
    }

    /// <summary>Ends a sequence with an error that its caller will see.</summary>
    public void Refuse(Sequence sequence, string error)
    {
        sequence.Fail(error);
        End(sequence);
        Failed.Add(sequence);
    }

    /// <summary>Asks the selector what to observe of the next tokens; one that throws ends its own sequence.</summary>
    public bool TryWatch(Sequence sequence, int count)
    {
        try
        {
            sequence.Cache!.Watch = sequence.Selector?.Watch(sequence.Computed, count) ?? default;
            return true;
        }
        catch (Exception failure) when (Generation.IsItsOwn(failure))
        {
            Refuse(sequence, sequence.Generation.PolicyFault(failure));
            return false;
        }
    }
}
