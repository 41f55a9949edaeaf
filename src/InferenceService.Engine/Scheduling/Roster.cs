namespace InferenceService.Engine.Scheduling;

/// <summary>Who waits and who runs, both in the order of priority, arrival and choice; and what no longer waits at the door.</summary>
/// <remarks>Moves sequences between the two; blocks are somebody else's business. Engine thread only.</remarks>
internal sealed class Roster(int maxSequences)
{
    private readonly List<Sequence> _running = new(maxSequences);
    private (int Choices, int Tokens) _leftDoor;

    /// <summary>Sequences that hold blocks.</summary>
    public IReadOnlyList<Sequence> Running => _running;

    /// <summary>Sequences that hold none.</summary>
    public WaitingQueue Waiting { get; } = new();

    /// <summary>No further sequence may run.</summary>
    public bool IsFull => _running.Count >= maxSequences;

    /// <summary>Nothing runs and nothing waits.</summary>
    public bool IsIdle => _running.Count == 0 && Waiting.Count == 0;

    /// <summary>All choices of a request begin to wait.</summary>
    public void Enqueue(Generation generation)
    {
        foreach (Sequence sequence in generation.Sequences)
        {
            sequence.State = SequenceState.Waiting;
            Waiting.Insert(sequence);
        }
    }

    /// <summary>A waiting sequence begins to run.</summary>
    public void Start(Sequence sequence)
    {
        Waiting.Remove(sequence);
        LeaveDoor(sequence);
        int place = _running.Count;
        while (place > 0 && sequence.IsBefore(_running[place - 1]))
            place--;
        _running.Insert(place, sequence);
        sequence.State = SequenceState.Running;
    }

    /// <summary>A running sequence waits again, at its old place.</summary>
    public void PutBack(Sequence sequence)
    {
        _running.Remove(sequence);
        sequence.State = SequenceState.Waiting;
        Waiting.Insert(sequence);
    }

    /// <summary>A sequence ends, wherever it stands.</summary>
    public void End(Sequence sequence)
    {
        if (sequence.State == SequenceState.Running)
            _running.Remove(sequence);
        else if (sequence.State == SequenceState.Waiting)
            Waiting.Remove(sequence);
        LeaveDoor(sequence);
        sequence.State = SequenceState.Finished;
    }

    /// <summary>Everybody, for the end of the engine and for checks.</summary>
    public IEnumerable<Sequence> All()
    {
        for (int place = 0; place < Waiting.Count; place++)
            yield return Waiting[place];
        foreach (Sequence sequence in _running)
            yield return sequence;
    }

    /// <summary>Choices and prompt tokens that wait at the door no longer, since the last call.</summary>
    public (int Choices, int Tokens) TakeLeftDoor()
    {
        (int, int) left = _leftDoor;
        _leftDoor = default;
        return left;
    }

    private void LeaveDoor(Sequence sequence)
    {
        if (sequence.HasLeftDoor)
            return;
        sequence.HasLeftDoor = true;
        _leftDoor.Choices++;
        if (!sequence.Generation.HasLeftDoor)
            _leftDoor.Tokens += sequence.PromptLength;
        sequence.Generation.HasLeftDoor = true;
    }
}
