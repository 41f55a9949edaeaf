namespace InferenceService.Engine.Scheduling;

/// <summary>Sequences in the order of <see cref="Sequence.IsBefore"/>.</summary>
internal sealed class SequenceList
{
    private readonly List<Sequence> _sequences = [];

    /// <summary>How many.</summary>
    public int Count => _sequences.Count;

    /// <summary>The sequence at a place; 0 comes first.</summary>
    public Sequence this[int place] => _sequences[place];

    /// <summary>Puts a sequence where its order says.</summary>
    public void Insert(Sequence sequence) => _sequences.Insert(PlaceOf(sequence), sequence);

    /// <summary>Takes a sequence out.</summary>
    /// <exception cref="InvalidOperationException">It is not there.</exception>
    public void Remove(Sequence sequence)
    {
        int place = PlaceOf(sequence);
        if (place == _sequences.Count || _sequences[place] != sequence)
            throw new InvalidOperationException("A sequence that does not wait cannot leave the queue.");
        _sequences.RemoveAt(place);
    }

    private int PlaceOf(Sequence sequence)
    {
        int low = 0, high = _sequences.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_sequences[middle].IsBefore(sequence))
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }
}
