namespace InferenceService.Engine;

/// <summary>The caller's end of an accepted request. One reader at a time.</summary>
public abstract class GenerationStream
{
    /// <summary>Takes the next event if one is there. Never blocks, allocates nothing.</summary>
    public abstract bool TryRead(out GeneratedToken token);

    /// <summary>Waits until <see cref="TryRead"/> may succeed; false when all choices have ended and everything was read.</summary>
    public abstract ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken);

    /// <summary>Ends all choices; their blocks are back in the pool within one step. Idempotent, any thread.</summary>
    public abstract void Cancel();

    /// <summary>Ends one choice (a stop string was found in its text).</summary>
    public abstract void CancelChoice(int choice);

    /// <summary>Prompt tokens that came from the prefix cache; known once the first token is there.</summary>
    public abstract int CachedTokens { get; }

    /// <summary>Log-probabilities of prompt positions 1.., when asked for; complete once the first token is there. Entry 0 is null.</summary>
    public abstract IReadOnlyList<TokenLogprobs?>? PromptLogprobs { get; }

    /// <summary>What its choices held in the KV cache; complete once all have ended.</summary>
    public abstract KvUsage KvUsage { get; }

    /// <summary>When the request passed each stage.</summary>
    public abstract RequestTimes Times { get; }

    /// <summary>When its choices were put back to waiting, the first <see cref="PreemptionSpan.MostKept"/> times. Any thread.</summary>
    public virtual IReadOnlyList<PreemptionSpan> Preemptions => [];

    /// <summary>One line for the log when a choice ended with <see cref="FinishReason.Error"/> or <see cref="FinishReason.NothingAllowed"/>.</summary>
    public abstract string? Error { get; }
}

/// <summary>Monotonic timestamps (<see cref="TimeProvider.GetTimestamp"/>); 0 = not yet.</summary>
/// <param name="Arrived">Accepted at the door.</param>
/// <param name="Scheduled">First put into a batch.</param>
/// <param name="FirstToken">First token published.</param>
/// <param name="LastToken">Last token published.</param>
public readonly record struct RequestTimes(long Arrived, long Scheduled, long FirstToken, long LastToken);

/// <summary>A choice had to give its blocks to others. Monotonic timestamps.</summary>
/// <param name="Choice">Which, from 0.</param>
/// <param name="Since">It lost its place in the batch.</param>
/// <param name="Until">It was back; 0 = not yet, or it ended while it waited.</param>
public readonly record struct PreemptionSpan(int Choice, long Since, long Until)
{
    /// <summary>Most that a request remembers; under more pressure than that the first ones tell enough.</summary>
    public const int MostKept = 32;
}
