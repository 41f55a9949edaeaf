namespace InferenceService.Engine;

/// <summary>A step that is being taken, for whoever wonders why it takes so long.</summary>
/// <param name="Age">Time since it began.</param>
/// <param name="Sequences">Sequences in its batch; 0 while it is being chosen.</param>
/// <param name="Tokens">Tokens of its batch.</param>
public readonly record struct RunningStep(TimeSpan Age, int Sequences, int Tokens);

/// <summary>Where the engine thread notes which step it takes, and anybody reads it. Neither waits.</summary>
internal sealed class StepWatch(TimeProvider time)
{
    private long _since; // 0 = between steps
    private long _shape; // sequences << 32 | tokens

    /// <summary>Engine thread: a step begins.</summary>
    /// <param name="now">Monotonic time, not 0.</param>
    public void Begin(long now)
    {
        Volatile.Write(ref _shape, 0);
        Volatile.Write(ref _since, now);
    }

    /// <summary>Engine thread: its batch is known.</summary>
    public void Shape(int sequences, int tokens) => Volatile.Write(ref _shape, ((long)sequences << 32) + tokens);

    /// <summary>Engine thread: it is over.</summary>
    public void End() => Volatile.Write(ref _since, 0);

    /// <summary>Any thread: the step of this moment.</summary>
    public RunningStep? Read()
    {
        long since = Volatile.Read(ref _since), shape = Volatile.Read(ref _shape);
        return since == 0 ? null : new RunningStep(time.GetElapsedTime(since), (int)(shape >> 32), (int)shape);
    }
}
