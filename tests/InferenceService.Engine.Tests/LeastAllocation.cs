namespace InferenceService.Engine.Tests;

/// <summary>Managed bytes that this thread allocates between <see cref="Begin"/> and <see cref="End"/>: the least of several runs of steps.</summary>
/// <remarks>
/// The runtime allocates on whatever thread it happens to be when it grows caches of its own (casts, generic calls, the queue of a new
/// pool thread), once in thousands of steps. What a step allocates itself shows in every run.
/// </remarks>
internal sealed class LeastAllocation(int stepsEach)
{
    private long _before, _run;
    private int _steps;

    /// <summary>Of the run of steps that allocated least; the largest number before the first run is complete.</summary>
    public long Bytes { get; private set; } = long.MaxValue;

    public void Begin() => _before = GC.GetAllocatedBytesForCurrentThread();

    public void End()
    {
        _run += GC.GetAllocatedBytesForCurrentThread() - _before;
        if (++_steps % stepsEach != 0)
            return;
        (Bytes, _run) = (Math.Min(Bytes, _run), 0);
    }
}
