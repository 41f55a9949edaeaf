using System.Collections.Concurrent;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine;

/// <summary>The way into the engine thread: requests, cancellations and small orders. Bounded, never blocks a caller, parks the reader.</summary>
/// <remarks>
/// Requests are bounded by the door's counts; a cancelled request is queued at most once at a time, so cancellations are bounded by
/// the requests. Whoever closes the inbox still sees everything that was accepted.
/// </remarks>
internal sealed class Inbox(int maxChoices, int maxTokens) : IDisposable
{
    /// <summary>
    /// What one of several clients may hold of the queue, against what is left of it: the dynamic threshold of Choudhury and Hahne ("Dynamic
    /// Queue Length Thresholds for Shared-Memory Packet Switches", 1998), under which n clients that take all they can leave 1/(1 + 4n) free.
    /// </summary>
    public const int ShareOfFree = 4;

    /// <summary>
    /// The largest sum of requests of a client that all enter an empty queue one after the other: each finds the ones before it there, so that
    /// the last, for which the least is left, decides: sum &lt;= ShareOfFree * (bound - (sum - last)).
    /// </summary>
    /// <param name="client">Its number; 0 = nobody tells callers apart.</param>
    /// <param name="bound">Of the queue, in choices or in tokens.</param>
    /// <param name="last">What the last of them takes.</param>
    public static int MostTogether(int client, int bound, int last) =>
        client == 0 ? bound : (int)Math.Min(bound, ShareOfFree * ((long)bound + last) / (1 + ShareOfFree));

    private readonly ConcurrentQueue<Generation> _arrivals = new();
    private readonly ConcurrentQueue<Generation> _cancellations = new();
    private readonly AutoResetEvent _signal = new(false);
    private long _reserved; // choices << 32 | tokens: both bounds are kept by one exchange
    private int _entering;
    private int _parked;
    private volatile bool _closed;

    /// <summary>Choices accepted and not yet admitted.</summary>
    public int Choices => (int)(Volatile.Read(ref _reserved) >> 32);

    /// <summary>Prompt tokens of requests none of whose choices was admitted.</summary>
    public int Tokens => (int)(Volatile.Read(ref _reserved) & uint.MaxValue);

    /// <summary>
    /// Any thread: counts a request at the door; false when the queue is full, or when its client would hold more than <see cref="ShareOfFree"/>
    /// times what is left. A request that is larger than the bound enters an empty queue.
    /// </summary>
    public bool TryReserve(ClientShare client, int choices, int tokens)
    {
        if (!TryReserve(choices, tokens, out long before))
            return false;
        long freeChoices = maxChoices - (before >> 32), freeTokens = maxTokens - (before & uint.MaxValue);
        bool bounded = client.Number != 0;
        if (client.TryReserve(choices, tokens, bounded ? ShareOfFree * freeChoices : long.MaxValue, bounded ? ShareOfFree * freeTokens : long.MaxValue))
            return true;
        Unreserve(choices, tokens);
        return false;
    }

    private bool TryReserve(int choices, int tokens, out long before)
    {
        while (true)
        {
            before = Volatile.Read(ref _reserved);
            long choicesAfter = (before >> 32) + choices, tokensAfter = (before & uint.MaxValue) + tokens;
            bool fits = before == 0 || (choicesAfter <= maxChoices && tokensAfter <= maxTokens);
            if (!fits)
                return false;
            if (Interlocked.CompareExchange(ref _reserved, (choicesAfter << 32) | tokensAfter, before) == before)
                return true;
        }
    }

    /// <summary>Gives counts back: choices and tokens that wait no longer.</summary>
    public void Unreserve(int choices, int tokens) => Interlocked.Add(ref _reserved, -(((long)choices << 32) + tokens));

    /// <summary>Any thread: hands a request over; false when the inbox is closed.</summary>
    public bool TryEnqueue(Generation generation)
    {
        Interlocked.Increment(ref _entering);
        bool open = !_closed;
        if (open)
            _arrivals.Enqueue(generation);
        Interlocked.Decrement(ref _entering);
        if (open)
            Wake();
        return open;
    }

    /// <summary>Any thread: asks the engine to look at a request's cancellation flags.</summary>
    public void EnqueueCancellation(Generation generation)
    {
        _cancellations.Enqueue(generation);
        Wake();
    }

    /// <summary>Engine thread: next request.</summary>
    public bool TryTakeArrival(out Generation? generation) => _arrivals.TryDequeue(out generation);

    /// <summary>Engine thread: next request with changed flags.</summary>
    public bool TryTakeCancellation(out Generation? generation) => _cancellations.TryDequeue(out generation);

    /// <summary>Any thread, at any time: lets a parked engine thread look again.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _parked, 0) == 0)
            return;
        try
        {
            _signal.Set();
        }
        catch (ObjectDisposedException)
        {
            // The thread ended between the two halves of parking: callers still cancel, and nobody is there to be woken.
        }
    }

    /// <summary>Engine thread, first half of parking: from here on <see cref="Wake"/> is remembered. Look for work once more before <see cref="Park"/>.</summary>
    public void PrepareToPark() => Interlocked.Exchange(ref _parked, 1);

    /// <summary>Engine thread: waits for <see cref="Wake"/> or the time limit, using no processor time.</summary>
    public void Park(TimeSpan limit)
    {
        if (Volatile.Read(ref _parked) == 1)
            _signal.WaitOne(limit);
        Interlocked.Exchange(ref _parked, 0);
    }

    /// <summary>Something arrived that was not taken yet.</summary>
    public bool HasMail => !_arrivals.IsEmpty || !_cancellations.IsEmpty;

    /// <summary>Accepts nothing more; on return everything accepted can be taken.</summary>
    public void Close()
    {
        _closed = true;
        Interlocked.MemoryBarrier();
        var spin = new SpinWait();
        while (Volatile.Read(ref _entering) > 0)
            spin.SpinOnce();
    }

    /// <inheritdoc/>
    public void Dispose() => _signal.Dispose();
}
