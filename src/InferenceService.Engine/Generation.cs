using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine;

/// <summary>An accepted request: its choices on the engine's side, its stream on the caller's.</summary>
internal sealed class Generation : GenerationStream
{
    private readonly Action<Generation> _cancel;
    private readonly bool[] _cancelled;
    private readonly TokenLogprobs?[]? _promptLogprobs;
    private long _scheduled;
    private long _firstToken;
    private long _lastToken;
    private (long LogicalTokens, long KeptTokens, long Bytes, long BytesFull) _kv;
    private int _cachedTokens;
    private int _cancelQueued;
    private int _ended;
    private volatile string? _error;
    private volatile PreemptionSpan[] _preemptions = []; // replaced, never changed: readers may come at any time

    /// <summary>Creates the choices, all waiting.</summary>
    /// <param name="request">Checked at the door.</param>
    /// <param name="policy">Its KV policy.</param>
    /// <param name="ticket">Arrival number, seed and time of arrival.</param>
    /// <param name="streamCapacity">Events the caller may leave unread.</param>
    /// <param name="cancel">Tells the engine thread that flags were set.</param>
    /// <param name="roomAgain">Wakes the engine thread when a full channel was emptied.</param>
    public Generation(GenerationRequest request, IKvPolicy policy, Ticket ticket, int streamCapacity, Action<Generation> cancel, Action roomAgain)
    {
        (Request, Policy, Client, Arrived, _cancel) = (request, policy, ticket.Client, ticket.Time, cancel);
        Priority = ticket.UsesPriority ? request.Priority : 0;
        // All events of a short answer fit at once; a long one may leave StreamCapacity unread. Two steps may be
        // underway, each writes at most one event a choice, and an end without a token must always fit.
        int choices = request.Choices;
        long all = (long)choices * (request.MaxTokens + 1L);
        int capacity = (int)Math.Min(Math.Max(streamCapacity, 2L * choices), all) + 2 * choices;
        Channel = new TokenChannel(capacity, 3 * choices, roomAgain);
        _cancelled = new bool[choices];
        Sequences = new Sequence[choices];
        for (int choice = 0; choice < choices; choice++)
            Sequences[choice] = new Sequence(this, choice, ticket.Arrival, ticket.Seed);
        if (request.Sampling.PromptLogprobs >= 0)
            _promptLogprobs = new TokenLogprobs?[request.PromptTokens.Length];
    }

    /// <summary>The order from outside.</summary>
    public GenerationRequest Request { get; }

    /// <summary>Its KV policy.</summary>
    public IKvPolicy Policy { get; }

    /// <summary>A failure while a policy is asked or obeyed ends its own request: all but the loss of the device, which is everybody's.</summary>
    public static bool IsItsOwn(Exception failure) => failure is not DeviceException { IsRefusal: false };

    /// <summary>What a choice says whose policy threw.</summary>
    public string PolicyFault(Exception failure) => $"KV policy {Policy.Name}: {failure.Message}";

    /// <summary>Lower runs first.</summary>
    public int Priority { get; }

    /// <summary>Who sent it.</summary>
    public ClientShare Client { get; }

    /// <summary>Engine thread: its number in the order in which requests first entered a batch; 0 = it never did.</summary>
    public long Entry { get; set; }

    /// <summary>Its choices.</summary>
    public Sequence[] Sequences { get; }

    /// <summary>The way back.</summary>
    public TokenChannel Channel { get; }

    /// <summary>Accepted at the door.</summary>
    public long Arrived { get; }

    /// <summary>Parent key of its first block.</summary>
    public UInt128 PrefixRoot { get; set; }

    /// <summary>Engine thread: the choice that computes the prompt for all; the others wait to share its blocks. Null = nobody.</summary>
    public Sequence? PromptOwner { get; set; }

    /// <summary>Engine thread: its prompt no longer counts as waiting at the door.</summary>
    public bool HasLeftDoor { get; set; }

    /// <summary>Engine thread: one of its choices was in a batch.</summary>
    public bool WasAdmitted { get; set; }

    /// <summary>Engine thread: its prompt was looked up in the prefix cache.</summary>
    public bool WasLookedUp { get; set; }

    /// <summary>Engine thread: prompt positions whose log-probabilities are known.</summary>
    public int PromptLogprobsDone { get; private set; } = 1;

    /// <summary>Prompt log-probabilities are wanted and not complete.</summary>
    public bool NeedsPromptLogprobs => _promptLogprobs is not null && PromptLogprobsDone < _promptLogprobs.Length;

    /// <inheritdoc/>
    public override int CachedTokens => Volatile.Read(ref _cachedTokens);

    /// <inheritdoc/>
    public override IReadOnlyList<TokenLogprobs?>? PromptLogprobs => _promptLogprobs;

    /// <inheritdoc/>
    public override KvUsage KvUsage => new(
        Policy.Name, Volatile.Read(ref _kv.LogicalTokens), Volatile.Read(ref _kv.KeptTokens), Volatile.Read(ref _kv.Bytes), Volatile.Read(ref _kv.BytesFull));

    /// <inheritdoc/>
    public override RequestTimes Times =>
        new(Arrived, Volatile.Read(ref _scheduled), Volatile.Read(ref _firstToken), Volatile.Read(ref _lastToken));

    /// <inheritdoc/>
    public override IReadOnlyList<PreemptionSpan> Preemptions => _preemptions;

    /// <inheritdoc/>
    public override string? Error => _error;

    /// <inheritdoc/>
    public override bool TryRead(out GeneratedToken token) => Channel.TryRead(out token);

    /// <inheritdoc/>
    public override ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken) => Channel.WaitToReadAsync(cancellationToken);

    /// <inheritdoc/>
    public override void Cancel()
    {
        for (int choice = 0; choice < _cancelled.Length; choice++)
            Volatile.Write(ref _cancelled[choice], true);
        QueueCancel();
    }

    /// <inheritdoc/>
    public override void CancelChoice(int choice)
    {
        Volatile.Write(ref _cancelled[choice], true);
        QueueCancel();
    }

    /// <summary>Engine thread: called before the flags are read, so that a later cancel is queued again.</summary>
    public void TakeCancel() => Interlocked.Exchange(ref _cancelQueued, 0);

    /// <summary>The caller wants this choice to end.</summary>
    public bool IsCancelled(int choice) => Volatile.Read(ref _cancelled[choice]);

    /// <summary>Engine thread: first put into a batch, with so many tokens from the cache.</summary>
    public void MarkScheduled(long now, int cachedTokens)
    {
        if (_scheduled != 0)
            return;
        Volatile.Write(ref _cachedTokens, cachedTokens);
        Volatile.Write(ref _scheduled, now);
    }

    /// <summary>Engine thread: a choice loses its place in the batch.</summary>
    public void MarkPreempted(int choice, long now)
    {
        if (_preemptions.Length < PreemptionSpan.MostKept)
            _preemptions = [.. _preemptions, new PreemptionSpan(choice, now, 0)];
    }

    /// <summary>Engine thread: a choice is in the batch again; nothing happens to one that never left.</summary>
    public void MarkReturned(int choice, long now)
    {
        PreemptionSpan[] known = _preemptions;
        int last = known.Length - 1;
        while (last >= 0 && known[last].Choice != choice)
            last--;
        if (last < 0 || known[last].Until != 0)
            return;
        known = [.. known];
        known[last] = known[last] with { Until = now };
        _preemptions = known;
    }

    /// <summary>Engine thread: states the log-probabilities of one prompt position. Positions arrive in order; known ones are not replaced.</summary>
    public void SetPromptLogprobs(int position, TokenLogprobs logprobs)
    {
        if (_promptLogprobs is null || position != PromptLogprobsDone)
            return;
        _promptLogprobs[position] = logprobs;
        PromptLogprobsDone++;
    }

    /// <summary>Engine thread, before the end of a choice is sent: adds what it held.</summary>
    public void AddKvUsage(in KvUsage usage)
    {
        Volatile.Write(ref _kv.LogicalTokens, _kv.LogicalTokens + usage.LogicalTokens);
        Volatile.Write(ref _kv.KeptTokens, _kv.KeptTokens + usage.KeptTokens);
        Volatile.Write(ref _kv.Bytes, _kv.Bytes + usage.Bytes);
        Volatile.Write(ref _kv.BytesFull, _kv.BytesFull + usage.BytesFull);
    }

    /// <summary>Engine thread: sends an event to the caller.</summary>
    public void Publish(in GeneratedToken token, long now)
    {
        if (token.TokenId >= 0)
        {
            if (_firstToken == 0)
                Volatile.Write(ref _firstToken, now);
            Volatile.Write(ref _lastToken, now);
        }

        Channel.Write(token);
        if (token.Finish != FinishReason.None && ++_ended == Sequences.Length)
            Channel.Complete();
    }

    /// <summary>Engine thread: all choices have sent their end.</summary>
    public bool HasEnded => _ended == Sequences.Length;

    /// <summary>Engine thread: keeps the first error.</summary>
    public void SetError(string error) => _error ??= error;

    private void QueueCancel()
    {
        if (Interlocked.Exchange(ref _cancelQueued, 1) == 0)
            _cancel(this);
    }
}

/// <summary>What the door gives a request.</summary>
/// <param name="Arrival">Number in order of arrival.</param>
/// <param name="Seed">Seed of its choices.</param>
/// <param name="Time">Monotonic time.</param>
/// <param name="UsesPriority">The engine orders by priority.</param>
/// <param name="Client">Who sent it.</param>
internal readonly record struct Ticket(long Arrival, long Seed, long Time, bool UsesPriority, ClientShare Client);
