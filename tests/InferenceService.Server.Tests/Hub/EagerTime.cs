using System.Collections.Concurrent;

namespace InferenceService.Server.Tests.Hub;

/// <summary>
/// A clock on which every delay is over at once and written down; timers of <see cref="Patience"/> (those that give up a silent connection) fall due
/// only when the test says so.
/// </summary>
internal sealed class EagerTime : TimeProvider
{
    /// <summary>A timer of this waits for the test. No hub can ask for it: its seconds are whole.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(599.5);

    private readonly ConcurrentDictionary<EagerTimer, TimerCallback> _held = new();

    /// <summary>What was waited for, in order.</summary>
    public ConcurrentQueue<TimeSpan> Delays { get; } = new();

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + TimeSpan.FromDays(20_000);

    /// <inheritdoc/>
    public override long GetTimestamp() => 0;

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new EagerTimer(this, _ => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Somebody waits for a hub, with such a timer.</summary>
    public bool IsHeld => !_held.IsEmpty;

    /// <summary>The longest timers fall due.</summary>
    public void LosePatience()
    {
        foreach (EagerTimer timer in _held.Keys)
        {
            if (_held.TryRemove(timer, out TimerCallback? callback))
                callback(null);
        }
    }

    private sealed class EagerTimer(EagerTime owner, TimerCallback callback) : ITimer
    {
        private int _disposed;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            owner._held.TryRemove(this, out _);
            if (dueTime == Timeout.InfiniteTimeSpan)
                return true;
            if (dueTime == Patience)
            {
                owner._held[this] = callback;
                return true;
            }

            owner.Delays.Enqueue(dueTime);
            ThreadPool.QueueUserWorkItem(_ =>
            {
                if (Volatile.Read(ref _disposed) == 0)
                    callback(null);
            });
            return true;
        }

        public void Dispose()
        {
            Interlocked.Exchange(ref _disposed, 1);
            owner._held.TryRemove(this, out _);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
