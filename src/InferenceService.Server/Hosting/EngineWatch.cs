using InferenceService.Engine;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting;

/// <summary>Looks at the engines once a second and tells the log, once each, what an operator should know: stuck, refused, left alone, dead.</summary>
internal sealed partial class EngineWatch(IModelCatalog catalog, EngineSection options, TimeProvider time, ILogger<EngineWatch> logger) : IHostedService, IDisposable
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(1);

    private readonly Dictionary<InferenceEngine, Seen> _seen = [];
    private ITimer? _timer;

    /// <summary>The step that an engine has been in for longer than <paramref name="watchdog"/>; null = there is none. Between steps nothing takes long.</summary>
    public static RunningStep? StuckIn(InferenceEngine engine, TimeSpan watchdog) => engine.RunningStep is { } step && step.Age > watchdog ? step : null;

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        _timer = time.CreateTimer(_ => Look(), null, Period, Timeout.InfiniteTimeSpan);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken)
    {
        Dispose();
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public void Dispose() => _timer?.Dispose();

    private void Look()
    {
        foreach (ServedModel model in catalog.Models)
        {
            if (!_seen.TryGetValue(model.Engine, out Seen? seen))
                _seen.Add(model.Engine, seen = new Seen());
            Look(model.Names[0], model.Engine, seen);
        }

        _timer?.Change(Period, Timeout.InfiniteTimeSpan); // now, so that a log that blocks gathers no threads
    }

    private void Look(string name, InferenceEngine engine, Seen seen)
    {
        if (engine.State == EngineState.Dead)
        {
            if (!seen.IsDead)
                LogDead(logger, engine.Fault, name);
            seen.IsDead = true;
            return;
        }

        NoteSteps(name, engine, seen);
        long refused = engine.RefusedSteps;
        if (refused > seen.RefusedSteps)
            LogRefused(logger, name, refused - seen.RefusedSteps, engine.DeviceRefusal);
        seen.RefusedSteps = refused;
        bool open = engine.OpenFor is not null;
        if (open && !seen.IsOpen)
            LogOpen(logger, name, engine.DeviceRefusal);
        else if (!open && seen.IsOpen)
            LogClosed(logger, name);
        seen.IsOpen = open;
    }

    private void NoteSteps(string name, InferenceEngine engine, Seen seen)
    {
        if (StuckIn(engine, options.Watchdog) is not { } step)
        {
            if (seen.StuckSince is long since)
                LogMoved(logger, name, time.GetElapsedTime(since).TotalSeconds);
            seen.StuckSince = null;
            return;
        }

        if (seen.StuckSince is not null)
            return;
        seen.StuckSince = time.GetTimestamp() - (long)(step.Age.TotalSeconds * time.TimestampFrequency);
        LogStuck(logger, name, step.Age.TotalSeconds, step.Sequences, step.Tokens, engine.Statistics.Waiting);
    }

    [LoggerMessage(Level = LogLevel.Critical, Message = "The engine of {Model} has ended with a fault; the process should be restarted")]
    private static partial void LogDead(ILogger logger, Exception? fault, string model);

    [LoggerMessage(Level = LogLevel.Error,
        Message = "The engine of {Model} has been in one step for {Seconds:0.0} s, with {Sequences} sequences and {Tokens} tokens; {Waiting} sequences wait")]
    private static partial void LogStuck(ILogger logger, string model, double seconds, int sequences, int tokens, int waiting);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The engine of {Model} goes on: that step took {Seconds:0.0} s")]
    private static partial void LogMoved(ILogger logger, string model, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The device of {Model} refused {Steps} steps, which are taken again, smaller: {Refusal}")]
    private static partial void LogRefused(ILogger logger, string model, long steps, string? refusal);

    [LoggerMessage(Level = LogLevel.Error, Message = "The device of {Model} refuses every step; requests wait and new ones are turned away until it takes one: {Refusal}")]
    private static partial void LogOpen(ILogger logger, string model, string? refusal);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The device of {Model} takes steps again")]
    private static partial void LogClosed(ILogger logger, string model);

    // What the log was told of one engine.
    private sealed class Seen
    {
        public bool IsDead { get; set; }

        public bool IsOpen { get; set; }

        public long RefusedSteps { get; set; }

        public long? StuckSince { get; set; }
    }
}
