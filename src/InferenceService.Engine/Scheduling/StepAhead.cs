using InferenceService.Compute;
using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Scheduling;

/// <summary>Fills a decode step while the one before it still runs and nobody knows its tokens: everybody goes on, one token each.</summary>
/// <remarks>
/// Only where <see cref="Scheduler.Schedule"/> would choose the same but for those whose token turns out to be their last: nobody enters,
/// pauses, gives way or was cancelled. Whoever ended is then computed once too often, into blocks that nobody else can have had before.
/// Engine thread only.
/// </remarks>
internal sealed class StepAhead(KvCache cache, Roster roster, Headroom headroom)
{
    // While somebody waits for blocks, he is asked again at least so often.
    private const int MostInARow = 16;

    private int _refusedOf;
    private int _refusedFree;
    private int _inARow;

    /// <summary>The next step may run before the tokens of this one are known: it needs no more than the tokens, and these lie on the device.</summary>
    /// <param name="batch">Called, and committed.</param>
    /// <param name="onDevice">Its rows that the device samples.</param>
    public static bool MayFollow(Batch batch, int onDevice)
    {
        bool goesOn = false;
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            // Penalties count the token, and a selector that watches is asked about its sums.
            if (!item.Samples || item.IsRider || sequence.Finish != FinishReason.None || sequence.Sampling.Counts is not null
                || sequence.Cache!.Watch.Sums != AttentionSums.None)
                return false;
            goesOn |= !item.EndsByLength;
        }

        return goesOn && onDevice == batch.Items.Length;
    }

    /// <summary>Nobody who waits may enter now: the first of them lacks blocks.</summary>
    public void NoteRefusal() => (_refusedOf, _refusedFree, _inARow) = (roster.Waiting.Count, cache.Blocks.Free, 0);

    /// <summary>Fills an empty batch with what follows <paramref name="before"/>, in its order, and takes the blocks.</summary>
    /// <returns>False: what follows is not certain, and nothing was changed.</returns>
    public bool TryFill(Batch before, Batch batch)
    {
        int count = 0, needed = 0, reserved = 0;
        if (roster.Running.Count != before.Items.Length || MayAdmit())
            return false;
        foreach (ref readonly BatchItem item in before.Items)
        {
            if (item.EndsByLength)
                continue;
            if (item.Sequence.Finish != FinishReason.None || !item.Sequence.Generation.Channel.HasRoom() || !TryWatch(item.Sequence))
                return false; // its policy may have failed half-way since it was called
            needed += cache.BlocksToGrow(item.Sequence.Cache!, 1);
            reserved += headroom.Of(item.Sequence, 1);
            count++;
        }

        if (count == 0 || needed + reserved > cache.Blocks.Free)
            return false;
        foreach (ref readonly BatchItem item in before.Items)
        {
            if (item.EndsByLength)
                continue;
            cache.Grow(item.Sequence.Cache!, 1);
            batch.Add(item.Sequence, count: 1, cost: 1, logitRows: 1, samples: true);
        }

        batch.Reserved = reserved;
        return true;
    }

    /// <summary>Who ended with a step leaves the one behind it, and gives back what it took for that.</summary>
    public void TakeOut(Batch ended, Batch behind)
    {
        foreach (ref readonly BatchItem item in ended.Items)
        {
            if (item.Sequence.Finish == FinishReason.None)
                continue;
            if (behind.Remove(item.Sequence))
                item.Sequence.Generation.Client.Charge(-ClientShare.OutputCost);
            cache.Trim(item.Sequence.Cache!);
        }
    }

    private bool MayAdmit() => roster.Waiting.Count > 0 && !roster.IsFull
        && (roster.Waiting.Count != _refusedOf || cache.Blocks.Free > _refusedFree || ++_inARow > MostInARow);

    /// <summary>One that throws is left to <see cref="Scheduler.Schedule"/>, which ends the sequence.</summary>
    private static bool TryWatch(Sequence sequence)
    {
        try
        {
            sequence.Cache!.Watch = sequence.Selector?.Watch(sequence.Computed, 1) ?? default;
            return true;
        }
        catch (Exception failure) when (Generation.IsItsOwn(failure))
        {
            return false;
        }
    }
}
