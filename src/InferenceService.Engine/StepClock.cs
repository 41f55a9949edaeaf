using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine;

/// <summary>How many steps there were, how long they took, and how much of that was model, sampler and host.</summary>
/// <remarks>A step lasts from its begin, or from the end of the step before it, to its end. Engine thread only; the histograms are for any.</remarks>
internal sealed class StepClock(TimeProvider time)
{
    private long _since;
    private long _computedSince;
    private long _computedTicks;
    private long _busyTicks;

    /// <summary>Tokens of each step.</summary>
    public Histogram Tokens { get; } = new([1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]);

    /// <summary>Seconds of each step.</summary>
    public Histogram Seconds { get; } = new([.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10]);

    /// <summary>Seconds of each step outside model and sampler.</summary>
    public Histogram HostSeconds { get; } = new([.00001, .00002, .00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5]);

    /// <summary>Steps called.</summary>
    public long Steps { get; private set; }

    /// <summary>Steps that have ended.</summary>
    public long Ended { get; private set; }

    /// <summary>Tokens of the step called last.</summary>
    public int LastTokens { get; private set; }

    /// <summary>Seconds in steps.</summary>
    public double BusySeconds => time.GetElapsedTime(0, _busyTicks).TotalSeconds;

    /// <summary>Of these, outside model and sampler.</summary>
    public double BusyHostSeconds => time.GetElapsedTime(0, _busyTicks - _computedTicks).TotalSeconds;

    /// <summary>For <see cref="AddComputing"/>.</summary>
    public long Now => time.GetTimestamp();

    /// <summary>A step begins and none is underway.</summary>
    public void Begin(long now) => (_since, _computedSince) = (now, _computedTicks);

    /// <summary>A step was called.</summary>
    public void Count(Batch batch)
    {
        Tokens.Observe(batch.Tokens);
        (LastTokens, Steps) = (batch.Tokens, Steps + 1);
    }

    /// <summary>Model or sampler worked since then.</summary>
    public void AddComputing(long since) => _computedTicks += Now - since;

    /// <summary>The step ends; the next, should it be underway, begins.</summary>
    public void End()
    {
        long now = Now, ticks = now - _since;
        _busyTicks += ticks;
        Ended++;
        Seconds.Observe(ticks / (double)time.TimestampFrequency);
        HostSeconds.Observe((ticks - (_computedTicks - _computedSince)) / (double)time.TimestampFrequency);
        Begin(now);
    }
}
