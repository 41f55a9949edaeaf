using InferenceService.Engine;
using InferenceService.Server.Api;

namespace InferenceService.Server.Generation;

/// <summary>How fast an engine's queue empties, seen at its door: what a refused client is told to wait. Any thread.</summary>
/// <remarks>Looks at the queue when requests come, at most once a second, and only back to when it was empty: an idle engine says nothing about a busy one.</remarks>
internal sealed class QueueDrain(Func<(long Waiting, long Admitted)> tokens, TimeProvider time)
{
    private const int Looks = 60;
    private static readonly TimeSpan Apart = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly Queue<(long At, long Admitted)> _looks = new(Looks);
    private long _last;

    /// <summary>That of an engine: prompt tokens that wait, and that were admitted since its start.</summary>
    public QueueDrain(InferenceEngine engine, TimeProvider time) : this(() => (engine.WaitingPromptTokens, engine.Statistics.PromptTokens), time)
    {
    }

    /// <summary>A request is at the door.</summary>
    public void Look()
    {
        (long waiting, long admitted) = tokens();
        long now = time.GetTimestamp();
        lock (_lock)
        {
            if (waiting == 0)
                _looks.Clear();
            else if (_looks.Count == 0 || time.GetElapsedTime(_last, now) >= Apart)
                Remember(now, admitted);
        }
    }

    /// <summary>The refusal with the time until all that waits now has begun, if that is known and longer than what it says already.</summary>
    public ApiError Advise(ApiError refusal)
    {
        if (TimeToEmpty() is not { } wait || wait.TotalSeconds <= (refusal.RetryAfterSeconds ?? 0))
            return refusal;
        return refusal.RetryIn(wait);
    }

    /// <summary>Time until all that waits has begun at the pace of the last minute; null = nothing waits, or not for long enough to tell.</summary>
    internal TimeSpan? TimeToEmpty()
    {
        (long waiting, long admitted) = tokens();
        lock (_lock)
        {
            if (waiting == 0 || _looks.Count == 0)
                return null;
            (long at, long before) = _looks.Peek();
            TimeSpan elapsed = time.GetElapsedTime(at);
            if (elapsed < Apart)
                return null;
            // Nothing began in all that time: it may take as long again.
            return admitted == before ? elapsed : waiting / (double)(admitted - before) * elapsed;
        }
    }

    private void Remember(long now, long admitted)
    {
        if (_looks.Count == Looks)
            _looks.Dequeue();
        while (_looks.Count > 0 && time.GetElapsedTime(_looks.Peek().At, now) > Looks * Apart)
            _looks.Dequeue();
        _looks.Enqueue((now, admitted));
        _last = now;
    }
}
