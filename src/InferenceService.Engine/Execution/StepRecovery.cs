using InferenceService.Compute;
using InferenceService.Engine.Scheduling;
using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;

namespace InferenceService.Engine.Execution;

/// <summary>A step that the device refuses (no memory, no resources) is taken again, smaller; a device that refuses them all is left alone for a while.</summary>
/// <remarks>
/// Tokens are committed after the forward pass, so a step that failed in it has changed nothing that counts, and the same tokens computed
/// in smaller steps have the same bits. Steps go straight to the model until one is refused; from then on through a Polly pipeline: a few
/// retries, each a quarter of the step before, inside a circuit breaker. What is left of the limit doubles after some steps that went well.
/// While the circuit is open nobody runs and nobody is lost; the probe that may close it is one token of one sequence, or a row of nobody's
/// where none is there. A sequence whose smallest step is refused while nobody's row passes is to blame itself, and ends. Engine thread only, but
/// for what says otherwise.
/// </remarks>
internal sealed class StepRecovery
{
    private const int Retries = 3;
    private const int StepsUntilLarger = 16;

    private readonly Func<Batch> _compute;
    private readonly Scheduler _scheduler;
    private readonly ModelRunner _runner;
    private readonly StepReversal _reversal;
    private readonly TimeProvider _time;
    private readonly TimeSpan _break;
    private readonly CircuitBreakerStateProvider _circuit = new();
    private readonly ResiliencePipeline _pipeline;
    private int _goodSteps;
    private long _refusedSteps;
    private long _probeAt; // 0 = the circuit is closed
    private volatile string? _refusal;

    /// <summary>For a device that works.</summary>
    /// <param name="compute">Chooses a step within the scheduler's limit and runs it.</param>
    /// <param name="scheduler">Chooses within a limit.</param>
    /// <param name="runner">Says whether a step that failed was committed.</param>
    /// <param name="reversal">Takes back what was refused.</param>
    /// <param name="options">Delays.</param>
    /// <param name="time">Clock.</param>
    public StepRecovery(Func<Batch> compute, Scheduler scheduler, ModelRunner runner, StepReversal reversal, EngineOptions options, TimeProvider time)
    {
        (_compute, _scheduler, _runner, _reversal, _time, _break) = (compute, scheduler, runner, reversal, time, options.CircuitBreak);
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddCircuitBreaker(new CircuitBreakerStrategyOptions
            {
                // Three steps that failed with all their retries, of at most twice as many.
                FailureRatio = 0.5,
                MinimumThroughput = 3,
                SamplingDuration = TimeSpan.FromSeconds(30),
                BreakDuration = options.CircuitBreak,
                ShouldHandle = static outcome => ValueTask.FromResult(outcome.Outcome.Exception is StepRefusedException),
                StateProvider = _circuit, // asked, because callbacks run on the thread pool, which the engine thread would wait for
            })
            .AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = Retries,
                Delay = options.StepRetryDelay,
                BackoffType = DelayBackoffType.Exponential,
                ShouldHandle = outcome => ValueTask.FromResult(outcome.Outcome.Exception is StepRefusedException && OpenFor is null),
            })
            .Build();
    }

    /// <summary>Steps that the device refused, since start. Any thread.</summary>
    public long RefusedSteps => Volatile.Read(ref _refusedSteps);

    /// <summary>What the device said last, for the log. Any thread.</summary>
    public string? Refusal => _refusal;

    /// <summary>The circuit is open: time until the device is tried again. Null = it is closed. Any thread.</summary>
    public TimeSpan? OpenFor
    {
        get
        {
            long probe = Volatile.Read(ref _probeAt), now = _time.GetTimestamp();
            return probe == 0 ? null : probe <= now ? TimeSpan.Zero : _time.GetElapsedTime(now, probe);
        }
    }

    /// <summary>No step was refused lately. Where the largest step is the least there is, only the circuit tells.</summary>
    public bool IsWell => _scheduler.Limit == _scheduler.Largest && Volatile.Read(ref _probeAt) == 0;

    /// <summary>A failure by which the device refused a step of which nothing is committed.</summary>
    public bool IsRefusal(Exception cause) => _runner.IsComputing && DeviceException.Refuses(cause);

    /// <summary>Takes a refused step back; the next one is smaller.</summary>
    /// <returns>Its only sequence; null when there were more or none.</returns>
    public Sequence? TakeBack(Batch batch, Exception cause)
    {
        _refusal = cause.Message;
        Volatile.Write(ref _refusedSteps, _refusedSteps + 1);
        Sequence? alone = _reversal.TakeBack(batch);
        _scheduler.Limit = _scheduler.Limit.Smaller();
        (_runner.IsComputing, _runner.IsCareful, _goodSteps) = (false, true, 0);
        return alone;
    }

    /// <summary>Takes a step.</summary>
    /// <returns>What was computed; nobody, if the device refuses or is left alone.</returns>
    public Batch Take()
    {
        if (IsWell)
        {
            try
            {
                return Attempt();
            }
            catch (StepRefusedException)
            {
                // The retries follow.
            }
        }

        return OpenFor > TimeSpan.Zero ? _scheduler.Rest() : Recover();
    }

    private Batch Recover()
    {
        try
        {
            Batch batch = _pipeline.Execute(static recovery => recovery.Attempt(), this);
            Volatile.Write(ref _probeAt, 0);
            NoteSuccess(batch);
            return batch;
        }
        catch (StepRefusedException)
        {
            if (_circuit.CircuitState == CircuitState.Open)
                Open();
        }
        catch (BrokenCircuitException)
        {
            // By its clock it is too early: the next step asks again.
        }

        return _scheduler.Rest();
    }

    private Batch Attempt()
    {
        bool isProbe = OpenFor is not null;
        try
        {
            Batch batch = _compute();
            if (batch.IsEmpty && isProbe)
                _runner.RunNobody();
            return batch;
        }
        catch (Exception cause) when (IsRefusal(cause))
        {
            Sequence? alone = TakeBack(_scheduler.Batch, cause);
            if (!isProbe || alone is null || !NobodysRowPasses())
                throw new StepRefusedException(cause);
            _scheduler.Endings.Refuse(alone, $"the device refuses even one token of it: {cause.Message}");
            return _scheduler.Rest();
        }
    }

    private bool NobodysRowPasses()
    {
        try
        {
            _runner.RunNobody();
            return true;
        }
        catch (Exception cause) when (IsRefusal(cause))
        {
            _runner.IsComputing = false;
            return false;
        }
    }

    private void Open()
    {
        _scheduler.Limit = StepLimit.Least;
        Volatile.Write(ref _probeAt, _time.GetTimestamp() + (long)(_break.TotalSeconds * _time.TimestampFrequency));
    }

    private void NoteSuccess(Batch batch)
    {
        if (_scheduler.Roster.IsIdle)
            _scheduler.Limit = _scheduler.Largest;
        else if (!batch.IsEmpty && ++_goodSteps >= StepsUntilLarger)
            (_scheduler.Limit, _goodSteps) = (_scheduler.Limit.Larger(_scheduler.Largest), 0);
        _runner.IsCareful = !IsWell;
        if (!_runner.IsCareful)
            _runner.Snapshot.Forget();
    }

    /// <summary>The device refused a step that was then taken back.</summary>
    private sealed class StepRefusedException(Exception cause) : Exception(cause.Message, cause);
}
