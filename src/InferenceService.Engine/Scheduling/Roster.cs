namespace InferenceService.Engine.Scheduling;

/// <summary>Who waits and who runs, the latter in the order of <see cref="Sequence.IsBefore"/>; and what no longer waits at the door.</summary>
/// <remarks>Moves sequences between the two; blocks are somebody else's business. Engine thread only.</remarks>
internal sealed class Roster(int maxSequences)
{
    private readonly List<Sequence> _running = new(maxSequences);
    private (int Choices, int Tokens) _leftDoor;
    private long _entries;

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
        generation.Client.Weight = generation.Request.Weight;
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
        sequence.State = SequenceState.Running;
        if (sequence.Generation.Entry == 0)
            Enter(sequence.Generation);
        int place = _running.Count;
        while (place > 0 && sequence.IsBefore(_running[place - 1]))
            place--;
        _running.Insert(place, sequence);
    }

    /// <summary>A running sequence waits again, before all of its priority that entered after it.</summary>
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
        foreach (Sequence sequence in Waiting.All())
            yield return sequence;
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

    // The other choices of a request that enters wait where it will stand from now on.
    private void Enter(Generation generation)
    {
        foreach (Sequence sibling in generation.Sequences)
            if (sibling.State == SequenceState.Waiting)
                Waiting.Remove(sibling);
        generation.Entry = ++_entries;
        Waiting.NoteServed(generation.Client);
        foreach (Sequence sibling in generation.Sequences)
            if (sibling.State == SequenceState.Waiting)
                Waiting.Insert(sibling);
    }

    private void LeaveDoor(Sequence sequence)
    {
        if (sequence.HasLeftDoor)
            return;
        sequence.HasLeftDoor = true;
        _leftDoor.Choices++;
        int tokens = sequence.Generation.HasLeftDoor ? 0 : sequence.PromptLength;
        _leftDoor.Tokens += tokens;
        sequence.Generation.Client.Unreserve(1, tokens);
        sequence.Generation.HasLeftDoor = true;
    }
}
