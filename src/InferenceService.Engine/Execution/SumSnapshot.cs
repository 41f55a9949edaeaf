using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Execution;

/// <summary>Attention sums as they were before a step. Taken only while steps are being refused; without one, who was observed computes everything anew.</summary>
#pragma warning disable CA1001 // Held for the few steps until all is well; an engine that ends before leaves it to the buffer's finalizer.
internal sealed class SumSnapshot(SumStore sums)
#pragma warning restore CA1001
{
    private readonly Dictionary<Sequence, (long At, int Slots)> _saved = [];
    private HostBuffer? _memory;

    /// <summary>Copies the sums that the step will add to; none, if the host has no memory for them.</summary>
    public void Take(Batch batch)
    {
        _saved.Clear();
        long bytes = 0;
        foreach (ref readonly BatchItem item in batch.Items)
        {
            if (item.IsRider || !item.Sequence.IsObserved)
                continue;
            SequenceCache held = item.Sequence.Cache!;
            int slots = held.LongestTable + item.Count; // those of the step too, which are zero and must be so again
            _saved.Add(item.Sequence, (bytes, slots));
            bytes += sums.SavedBytes(held.Sums, slots);
        }

        if (bytes > 0 && !TryReserve(bytes))
            _saved.Clear();
        foreach ((Sequence sequence, (long at, int slots)) in _saved)
            sums.Save(sequence.Cache!.Sums, sequence.Cache.SumRow, slots, _memory!, at);
    }

    /// <summary>Puts the sums of a sequence back; false when they are not there.</summary>
    public bool TryRestore(Sequence sequence)
    {
        if (!_saved.Remove(sequence, out (long At, int Slots) saved))
            return false;
        try
        {
            sums.Restore(sequence.Cache!.Sums, sequence.Cache.SumRow, saved.Slots, _memory!, saved.At);
            return true;
        }
        catch (Exception cause) when (DeviceException.Refuses(cause))
        {
            return false;
        }
    }

    /// <summary>Gives the memory back.</summary>
    public void Forget()
    {
        _saved.Clear();
        _memory?.Dispose();
        _memory = null;
    }

    private bool TryReserve(long bytes)
    {
        if (_memory?.ByteLength >= bytes)
            return true;
        _memory?.Dispose();
        _memory = null;
        try
        {
            _memory = new HostBuffer(bytes);
            return true;
        }
        catch (OutOfMemoryException)
        {
            return false;
        }
    }
}
