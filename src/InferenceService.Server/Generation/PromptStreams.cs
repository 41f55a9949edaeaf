using System.Runtime.CompilerServices;
using InferenceService.Engine;

namespace InferenceService.Server.Generation;

/// <summary>What ended a wait for tokens.</summary>
internal enum WaitOutcome
{
    /// <summary>There may be something to read.</summary>
    Ready,

    /// <summary>Everything was read and all choices have ended.</summary>
    Ended,

    /// <summary>Nothing came in time.</summary>
    TimedOut,

    /// <summary>Somebody has cancelled. The engine hears of it at the end of its step, which may take any time.</summary>
    Cancelled,
}

/// <summary>The engine's streams of one request, one per prompt, read as one. One reader at a time; anybody may cancel.</summary>
internal sealed class PromptStreams : IDisposable
{
    private readonly IReadOnlyList<GenerationStream> _streams;
    private readonly TimeProvider _time;
    private readonly Task<bool>?[] _waits;
    private readonly bool[] _ended;
    private readonly List<Task> _pending = [];
    private readonly Lock _gate = new(); // whoever cancels may come while the reader renews or disposes what ends its wait
    private CancellationTokenSource _timeout;
    private volatile bool _cancelled;
    private bool _disposed;

    public PromptStreams(IReadOnlyList<GenerationStream> streams, TimeProvider time)
    {
        (_streams, _time) = (streams, time);
        _waits = new Task<bool>?[streams.Count];
        _ended = new bool[streams.Count];
        _timeout = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
    }

    /// <summary>Streams, by prompt.</summary>
    public GenerationStream this[int prompt] => _streams[prompt];

    /// <summary>Prompts.</summary>
    public int Count => _streams.Count;

    /// <summary>Whether at least one prompt has left the engine's queue.</summary>
    public bool IsScheduled
    {
        get
        {
            for (int i = 0; i < _streams.Count; i++)
            {
                if (_streams[i].Times.Scheduled != 0)
                    return true;
            }

            return false;
        }
    }

    /// <summary>Takes the next event of any prompt, if one is there.</summary>
    public bool TryRead(out int prompt, out GeneratedToken token)
    {
        for (prompt = 0; prompt < _streams.Count; prompt++)
        {
            // A stream has one reader: one that is being waited for is not read as well.
            if (!_ended[prompt] && _waits[prompt] is null && _streams[prompt].TryRead(out token))
                return true;
        }

        token = default;
        return false;
    }

    /// <summary>Waits until <see cref="TryRead"/> may succeed. Without a timeout firing, one prompt's wait allocates nothing.</summary>
    public ValueTask<WaitOutcome> WaitAsync(TimeSpan atMost) => _streams.Count == 1 ? WaitForOneAsync(atMost) : WaitForAnyAsync(atMost);

    /// <summary>Asks the engine to end all choices of all prompts, and ends all waiting for it at once.</summary>
    public void Cancel()
    {
        for (int i = 0; i < _streams.Count; i++)
            _streams[i].Cancel();
        lock (_gate)
        {
            _cancelled = true;
            if (!_disposed)
                _ = _timeout.CancelAsync(); // the reader goes on elsewhere
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _timeout.Dispose();
        }
    }

    // What has fired once stays so.
    private void RenewTimeout()
    {
        lock (_gate)
        {
            if (_cancelled || !_timeout.IsCancellationRequested)
                return;
            _timeout.Dispose();
            _timeout = new CancellationTokenSource(Timeout.InfiniteTimeSpan, _time);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<WaitOutcome> WaitForOneAsync(TimeSpan atMost)
    {
        if (_timeout.IsCancellationRequested)
            RenewTimeout();
        if (_cancelled)
            return WaitOutcome.Cancelled;
        ValueTask<bool> wait = _streams[0].WaitToReadAsync(_timeout.Token);
        if (wait.IsCompletedSuccessfully)
            return await wait ? WaitOutcome.Ready : WaitOutcome.Ended;
        _timeout.CancelAfter(atMost);
        try
        {
            return await wait ? WaitOutcome.Ready : WaitOutcome.Ended;
        }
        catch (OperationCanceledException) when (_timeout.IsCancellationRequested)
        {
            return _cancelled ? WaitOutcome.Cancelled : WaitOutcome.TimedOut;
        }
        finally
        {
            _timeout.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    private async ValueTask<WaitOutcome> WaitForAnyAsync(TimeSpan atMost)
    {
        if (_cancelled)
            return WaitOutcome.Cancelled;
        _pending.Clear();
        bool ready = false;
        for (int i = 0; i < _streams.Count; i++)
        {
            if (_ended[i])
                continue;
            _waits[i] ??= _streams[i].WaitToReadAsync(CancellationToken.None).AsTask();
            ready |= _waits[i]!.IsCompleted;
            _pending.Add(_waits[i]!);
        }

        if (_pending.Count == 0)
            return WaitOutcome.Ended;
        try
        {
            // Prompts of one batch get their tokens together, so mostly one is there already.
            if (!ready)
                await Task.WhenAny(_pending).WaitAsync(atMost, _time, _timeout.Token);
        }
        catch (TimeoutException)
        {
            return WaitOutcome.TimedOut;
        }
        catch (OperationCanceledException) when (_cancelled)
        {
            return WaitOutcome.Cancelled;
        }

        for (int i = 0; i < _streams.Count; i++)
        {
            if (_waits[i] is { IsCompleted: true } done)
            {
                _ended[i] = !await done;
                _waits[i] = null;
            }
        }

        return Array.TrueForAll(_ended, ended => ended) ? WaitOutcome.Ended : WaitOutcome.Ready;
    }
}
