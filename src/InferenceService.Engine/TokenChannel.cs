using System.Numerics;
using System.Threading.Tasks.Sources;

namespace InferenceService.Engine;

/// <summary>Where a <see cref="GeneratedToken"/> crosses back to the async world: a bounded ring with one writer (the engine thread) and one reader.</summary>
/// <remarks>
/// Writing and waking the reader allocates nothing: the channel itself is the awaitable and the work item that resumes it on the
/// thread pool. The writer asks <see cref="HasRoom"/> first and never waits; a reader that empties a channel the writer found full
/// wakes the engine through <paramref name="roomAgain"/>.
/// </remarks>
/// <param name="capacity">Events that fit.</param>
/// <param name="reserve">Events that must still fit when <see cref="HasRoom"/> says yes.</param>
/// <param name="roomAgain">Wakes the engine thread.</param>
internal sealed class TokenChannel(int capacity, int reserve, Action roomAgain) : IValueTaskSource<bool>, IThreadPoolWorkItem
{
    private readonly GeneratedToken[] _ring = new GeneratedToken[BitOperations.RoundUpToPowerOf2((uint)capacity)];
    private ManualResetValueTaskSourceCore<bool> _core;
    private CancellationTokenRegistration _registration;
    private CancellationToken _cancellation;
    private int _written;
    private int _read;
    private int _waiting;
    private int _paused;
    private volatile bool _completed;

    /// <summary>Engine thread: may its sequences go on? After a no, yes again only when half of the ring is free.</summary>
    public bool HasRoom()
    {
        if (Volatile.Read(ref _paused) == 0 && Unread <= capacity - reserve)
            return true;
        Interlocked.Exchange(ref _paused, 1);
        if (Unread > (capacity - reserve) / 2)
            return false;
        Interlocked.Exchange(ref _paused, 0);
        return true;
    }

    /// <summary>Events written and not yet read.</summary>
    public int Unread => Volatile.Read(ref _written) - Volatile.Read(ref _read);

    /// <summary>Engine thread: appends an event.</summary>
    /// <exception cref="InvalidOperationException">The ring is full.</exception>
    public void Write(in GeneratedToken token)
    {
        if (Unread >= _ring.Length)
            throw new InvalidOperationException("A token channel overflowed.");
        _ring[_written & (_ring.Length - 1)] = token;
        Volatile.Write(ref _written, _written + 1);
        Wake();
    }

    /// <summary>Engine thread: no event will follow.</summary>
    public void Complete()
    {
        _completed = true;
        Wake();
    }

    /// <summary>Reader: takes the next event.</summary>
    public bool TryRead(out GeneratedToken token)
    {
        int read = _read;
        if (read == Volatile.Read(ref _written))
        {
            token = default;
            return false;
        }

        ref GeneratedToken slot = ref _ring[read & (_ring.Length - 1)];
        token = slot;
        slot = default;
        Interlocked.Exchange(ref _read, read + 1);
        if (Volatile.Read(ref _paused) == 1 && Unread <= (capacity - reserve) / 2 && Interlocked.Exchange(ref _paused, 0) == 1)
            roomAgain();
        return true;
    }

    /// <summary>Reader: true when an event is there, false when none will come.</summary>
    public ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled<bool>(cancellationToken);
        if (IsDecided(out bool readable))
            return new ValueTask<bool>(readable);

        _core.Reset();
        _cancellation = cancellationToken;
        short version = _core.Version;
        Interlocked.Exchange(ref _waiting, 1);
        // What the writer did before it could see the flag is found here; whoever clears the flag owns the answer.
        if (IsDecided(out readable) && Interlocked.CompareExchange(ref _waiting, 0, 1) == 1)
            return new ValueTask<bool>(readable);
        if (cancellationToken.CanBeCanceled)
            _registration = cancellationToken.UnsafeRegister(static state => ((TokenChannel)state!).Wake(), this);
        return new ValueTask<bool>(this, version);
    }

    bool IValueTaskSource<bool>.GetResult(short token)
    {
        _registration.Dispose();
        _registration = default;
        return _core.GetResult(token);
    }

    ValueTaskSourceStatus IValueTaskSource<bool>.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource<bool>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);

    void IThreadPoolWorkItem.Execute()
    {
        while (true)
        {
            if (IsDecided(out bool readable))
            {
                _core.SetResult(readable);
                return;
            }

            if (_cancellation.IsCancellationRequested)
            {
                _core.SetException(new OperationCanceledException(_cancellation));
                return;
            }

            // The reader took an event before its writer came to wake it, and waits for the next one already: it waits on.
            Interlocked.Exchange(ref _waiting, 1);
            if ((!IsDecided(out _) && !_cancellation.IsCancellationRequested) || Interlocked.CompareExchange(ref _waiting, 0, 1) != 1)
                return;
        }
    }

    private bool IsDecided(out bool readable)
    {
        bool completed = _completed;
        readable = Volatile.Read(ref _read) != Volatile.Read(ref _written);
        return readable || completed;
    }

    /// <summary>Any thread, after an event, the end or a cancellation: a waiting reader looks. It may come late, for an event that was read meanwhile.</summary>
    internal void Wake()
    {
        if (Interlocked.CompareExchange(ref _waiting, 0, 1) == 1)
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }
}
