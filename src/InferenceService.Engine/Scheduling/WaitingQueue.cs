namespace InferenceService.Engine.Scheduling;

/// <summary>Sequences that wait, and which of them is next: by priority; then those that were in a batch before, in the order in which they first entered; then the client that was given least.</summary>
/// <remarks>
/// Within a priority clients take turns as in the Virtual Token Counter of Sheng et al., "Fairness in Serving Large Language Models"
/// (OSDI 2024): next is the oldest sequence of the client whose <see cref="ClientShare.Served"/> is least, of equals the one that came
/// first. A client that begins to wait is raised to the least of those that wait at its priority, or to who was served last when nobody
/// does. So two clients that both always have something waiting are never further apart than the paper's bound, twice the larger of a
/// prompt's cost and a full batch's; and who waits is passed over only as long as others have been given less, because its own count
/// stands still meanwhile and every entry raises another's. One client alone is first come, first served.
/// </remarks>
internal sealed class WaitingQueue
{
    private readonly SequenceList _entered = new();
    private readonly List<ClientShare> _clients = []; // those with something in their own lists
    private ClientShare? _servedLast;

    /// <summary>Sequences waiting.</summary>
    public int Count { get; private set; }

    /// <summary>Those of requests that were in a batch before: preempted ones, and choices that wait for their prompt.</summary>
    public SequenceList Entered => _entered;

    /// <summary>Puts a sequence where its order says.</summary>
    public void Insert(Sequence sequence)
    {
        Count++;
        if (sequence.Generation.Entry != 0)
        {
            _entered.Insert(sequence);
            return;
        }

        ClientShare client = sequence.Generation.Client;
        if (client.Waiting.Count == 0)
        {
            client.Served = Math.Max(client.Served, LeastServed(sequence.Generation.Priority));
            _clients.Add(client);
        }

        client.Waiting.Insert(sequence);
    }

    /// <summary>Takes a sequence out.</summary>
    /// <exception cref="InvalidOperationException">It does not wait.</exception>
    public void Remove(Sequence sequence)
    {
        ClientShare client = sequence.Generation.Client;
        if (sequence.Generation.Entry != 0)
        {
            _entered.Remove(sequence);
        }
        else
        {
            client.Waiting.Remove(sequence);
            if (client.Waiting.Count == 0)
                _clients.Remove(client);
        }

        Count--;
    }

    /// <summary>Who should enter next, when the first <paramref name="skip"/> of <see cref="Entered"/> cannot; null = nobody.</summary>
    public Sequence? Next(int skip)
    {
        Sequence? next = skip < _entered.Count ? _entered[skip] : null;
        ClientShare? least = null;
        for (int i = 0; i < _clients.Count; i++)
        {
            Sequence head = _clients[i].Waiting[0];
            if (least is null || IsBefore(head, least.Waiting[0]))
                least = _clients[i];
        }

        if (least is null || (next is not null && next.Generation.Priority <= least.Waiting[0].Generation.Priority))
            return next;
        return least.Waiting[0];
    }

    /// <summary>A client's sequence enters a batch for the first time, after it was removed here.</summary>
    public void NoteServed(ClientShare client) => _servedLast = client;

    /// <summary>Everybody, in no order that means anything.</summary>
    public IEnumerable<Sequence> All()
    {
        for (int i = 0; i < _entered.Count; i++)
            yield return _entered[i];
        foreach (ClientShare client in _clients)
            for (int i = 0; i < client.Waiting.Count; i++)
                yield return client.Waiting[i];
    }

    // Heads of different clients: who of them is served next.
    private static bool IsBefore(Sequence head, Sequence other)
    {
        if (head.Generation.Priority != other.Generation.Priority)
            return head.Generation.Priority < other.Generation.Priority;
        double served = head.Generation.Client.Served, others = other.Generation.Client.Served;
        return served != others ? served < others : head.Arrival < other.Arrival;
    }

    private double LeastServed(int priority)
    {
        double least = double.PositiveInfinity;
        for (int i = 0; i < _clients.Count; i++)
            if (_clients[i].Waiting[0].Generation.Priority == priority)
                least = Math.Min(least, _clients[i].Served);
        return double.IsPositiveInfinity(least) ? _servedLast?.Served ?? 0 : least;
    }
}
