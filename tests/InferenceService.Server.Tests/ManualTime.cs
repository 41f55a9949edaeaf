namespace InferenceService.Server.Tests;

/// <summary>A clock that moves when the test says so; timers that fall due run on the test's thread.</summary>
public sealed class ManualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _timers = [];
    private TimeSpan _now;

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <inheritdoc/>
    public override long GetTimestamp()
    {
        lock (_lock)
            return _now.Ticks + TimeSpan.TicksPerDay;
    }

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow()
    {
        lock (_lock)
            return DateTimeOffset.UnixEpoch + TimeSpan.FromDays(20_000) + _now;
    }

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, () => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Moves the clock forward, running due timers in order.</summary>
    public void Advance(TimeSpan by)
    {
        TimeSpan target;
        lock (_lock)
            target = _now + by;
        while (true)
        {
            ManualTimer? due;
            lock (_lock)
            {
                due = _timers.Where(timer => timer.Due <= target).MinBy(timer => timer.Due);
                if (due is null)
                {
                    _now = target;
                    return;
                }

                _now = due.Due > _now ? due.Due : _now;
                _timers.Remove(due);
            }

            due.Fire();
        }
    }

    /// <summary>Moves the clock a second at a time until <paramref name="end"/> has come: for timers that others set at a moment of their own.</summary>
    public Task AdvanceUntilAsync(Task end) => Eventually.TrueAsync(() =>
    {
        if (!end.IsCompleted)
            Advance(TimeSpan.FromSeconds(1));
        return end.IsCompleted;
    });

    /// <summary>Waits until some timer falls due within <paramref name="within"/>: somebody is now waiting for that.</summary>
    public Task WaitForTimerAsync(TimeSpan within) => Eventually.TrueAsync(() => HasTimerWithin(within));

    private bool HasTimerWithin(TimeSpan within)
    {
        lock (_lock)
            return _timers.Exists(timer => timer.Due <= _now + within);
    }

    private sealed class ManualTimer(ManualTime owner, Action callback) : ITimer
    {
        public TimeSpan Due { get; private set; }

        public void Fire() => callback();

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (owner._lock)
            {
                owner._timers.Remove(this);
                if (dueTime != Timeout.InfiniteTimeSpan)
                {
                    Due = owner._now + dueTime;
                    owner._timers.Add(this);
                }
            }

            return true;
        }

        public void Dispose()
        {
            lock (owner._lock)
                owner._timers.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
