using InferenceService.Server.Api;

namespace InferenceService.Server.Hosting;

/// <summary>Where the process stands between start and end.</summary>
public enum ServerPhase
{
    /// <summary>Listening; models load.</summary>
    Loading,

    /// <summary>Serves.</summary>
    Ready,

    /// <summary>Told to end; not ready any more, but still takes work until load balancers have noticed.</summary>
    Leaving,

    /// <summary>Takes no more work; running work may finish.</summary>
    Draining,

    /// <summary>Running work is being ended.</summary>
    Stopping,
}

/// <summary>Whether this process takes inference work, how much is under way, and how it ends. Any thread may call it.</summary>
public sealed class ServerLifecycle : IDisposable
{
    /// <summary>Time for requests that were told to end to send their error.</summary>
    internal static readonly TimeSpan LastWords = TimeSpan.FromSeconds(5);

    private const int RetrySeconds = 5;
    private readonly CancellationTokenSource _hardStop = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TimeProvider _time;
    private int _phase;
    private int _inFlight;
    private long _outSince; // 0 = in service; else when an operator took it out, or a moment ago
    private long _outDelay;

    /// <summary>Starts in <see cref="ServerPhase.Loading"/>.</summary>
    public ServerLifecycle(TimeProvider time) => _time = time;

    /// <summary>Where the process stands.</summary>
    public ServerPhase Phase => (ServerPhase)Volatile.Read(ref _phase);

    /// <summary>An operator has taken the server out of service.</summary>
    public bool IsDrained => Volatile.Read(ref _outSince) != 0;

    /// <summary>HTTP inference requests under way.</summary>
    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>Cancelled when running work must end now: streams send an error event and close.</summary>
    public CancellationToken HardStop => _hardStop.Token;

    /// <summary>Why new work is refused; null when it is taken.</summary>
    public ApiError? Refusal => Phase switch
    {
        ServerPhase.Loading => ModelLoading,
        ServerPhase.Draining or ServerPhase.Stopping => ShuttingDown,
        _ => IsDrained && _time.GetElapsedTime(Volatile.Read(ref _outSince)).Ticks >= Volatile.Read(ref _outDelay) ? OutOfService : null,
    };

    /// <summary>The answer while models load.</summary>
    public static ApiError ModelLoading { get; } =
        new(503, "unavailable_error", "model_loading", "The model is still being loaded.") { RetryAfterSeconds = RetrySeconds, ShouldRetry = true };

    /// <summary>The answer while the server ends; also the event that ends a stream cut by <see cref="HardStop"/>.</summary>
    public static ApiError ShuttingDown { get; } =
        new(503, "unavailable_error", "shutting_down", "The server is shutting down.") { RetryAfterSeconds = RetrySeconds, ShouldRetry = true };

    /// <summary>The answer while an operator has taken the server out of service.</summary>
    public static ApiError OutOfService { get; } =
        new(503, "unavailable_error", "shutting_down", "The server has been taken out of service.") { RetryAfterSeconds = RetrySeconds, ShouldRetry = true };

    /// <summary>Takes a serving process out of service: not ready at once, refusing new work after the delay; what runs goes on. False: it was out already.</summary>
    public bool TakeOut(TimeSpan delay)
    {
        Volatile.Write(ref _outDelay, delay.Ticks);
        return Interlocked.CompareExchange(ref _outSince, Math.Max(1, _time.GetTimestamp()), 0) == 0;
    }

    /// <summary>Puts it back into service. False: it was not out.</summary>
    public bool PutBack() => Interlocked.Exchange(ref _outSince, 0) != 0;

    /// <summary>Counts a request until the result is disposed. The pipeline does this for every route marked as inference.</summary>
    public IDisposable TrackRequest()
    {
        Interlocked.Increment(ref _inFlight);
        return new Tracked(this);
    }

    /// <summary>All models are loaded and warm.</summary>
    public void MarkReady() => Interlocked.CompareExchange(ref _phase, (int)ServerPhase.Ready, (int)ServerPhase.Loading);

    /// <summary>
    /// Ends the service in order: not ready at once, refuses work after <paramref name="delay"/>, waits for running work up to
    /// <paramref name="timeout"/>, then cancels <see cref="HardStop"/>. Returns when nothing is under way or that was done.
    /// </summary>
    /// <param name="hurry">Cancelled to skip all waiting.</param>
    public async Task DrainAsync(TimeSpan delay, TimeSpan timeout, CancellationToken hurry)
    {
        bool serving = Phase is ServerPhase.Ready;
        Advance(ServerPhase.Leaving);
        if (serving)
            await WaitAsync(Task.Delay(Timeout.InfiniteTimeSpan, _time, CancellationToken.None), delay, hurry); // nothing ends it early but hurry: load balancers need the time
        Advance(ServerPhase.Draining);
        CompleteIfIdle();
        await WaitAsync(_idle.Task, timeout, hurry);
        Advance(ServerPhase.Stopping);
        await _hardStop.CancelAsync();
    }

    /// <summary>Waits until nothing is under way, at most <paramref name="timeout"/>; only after <see cref="DrainAsync"/>.</summary>
    internal Task WaitIdleAsync(TimeSpan timeout, CancellationToken hurry) => WaitAsync(_idle.Task, timeout, hurry);

    /// <inheritdoc/>
    public void Dispose() => _hardStop.Dispose();

    private async Task WaitAsync(Task task, TimeSpan atMost, CancellationToken hurry)
    {
        try
        {
            await task.WaitAsync(atMost, _time, hurry);
        }
        catch (Exception exception) when (exception is TimeoutException or OperationCanceledException)
        {
            // Either the time is up or somebody is in a hurry: both mean go on.
        }
    }

    private void Advance(ServerPhase phase)
    {
        int current;
        while ((current = Volatile.Read(ref _phase)) < (int)phase && Interlocked.CompareExchange(ref _phase, (int)phase, current) != current)
        {
        }
    }

    private void CompleteIfIdle()
    {
        if (Phase >= ServerPhase.Draining && InFlight == 0)
            _idle.TrySetResult();
    }

    private sealed class Tracked(ServerLifecycle owner) : IDisposable
    {
        private int _disposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _disposed, 1) != 0)
                return;
            Interlocked.Decrement(ref owner._inFlight);
            owner.CompleteIfIdle();
        }
    }
}
