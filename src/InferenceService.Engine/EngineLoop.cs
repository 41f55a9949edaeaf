using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Execution;
using InferenceService.Engine.Faults;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;
using InferenceService.Models;

namespace InferenceService.Engine;

/// <summary>The one thread that owns all mutable state of an engine.</summary>
/// <remarks><see cref="Step"/> is the table of contents. Nothing here or below it locks, awaits, or waits for a caller.</remarks>
internal sealed class EngineLoop
{
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan HeldInterval = TimeSpan.FromMilliseconds(100);

    private readonly Inbox _inbox;
    private readonly TimeProvider _time;
    private readonly Residency _residency;
    private readonly Scheduler _scheduler;
    private readonly ModelRunner _runner;
    private readonly Sampler _sampler;
    private readonly PolicyStep _policies;
    private readonly KvPacker _packer;
    private readonly Outbox _outbox;
    private readonly EngineChecks _checks;
    private readonly StepWatch _watch;
    private readonly IFaultInjection _faults;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _state = (int)EngineState.Running;
    private int _cancelAll;
    private int _resetPrefixes;
    private readonly bool _overlaps;
    private Tensor _logits;         // of the step called last
    private Batch? _underway;       // called, and its tokens not read
    private bool _compressed;       // its policies were asked
    private int _onDevice;          // rows of the last step that the device samples
    private long _heldAt;
    private bool _heldNothing;

    /// <summary>Allocates the pool and everything that works on it. Options are checked by the caller.</summary>
    public EngineLoop(DecoderModel model, EngineOptions options, int blocks, Inbox inbox, TimeProvider time)
    {
        (_inbox, _time) = (inbox, time);
        KvLayout layout = model.Layout;
        KvBlockFormat format = EngineSizes.Format(model, options);
        Ages = new BlockAges(blocks, time.TimestampFrequency);
        Cache = new KvCache(model.Backend, layout, format, blocks, options.PrefixCaching, KvContent.Describe(model, format, options.PromptChunkTokens), Ages);
        var chunks = new PromptChunks(layout, options.PromptChunkTokens, options.BlockSize);
        var sums = new SumStore(model.Backend, layout.OwnerLayers * layout.KvHeads, options.MaxModelLength, options.MaxNumSeqs, options.Sums,
            model.Config.Heads / model.Config.KvHeads);
        Swap = new KvSwap(model.Backend, Cache, sums, options.SwapBytes);
        Meter = new KvMeter(Cache, model.Config);
        _residency = new Residency(Cache, Swap, sums, chunks, model.Config, options.TokenClasses);
        var compressor = new KvCompressor(Cache, sums);
        _packer = new KvPacker(Cache);
        _policies = new PolicyStep(compressor, _packer, Meter);
        Clock = new StepClock(time);
        _scheduler = new Scheduler(Cache, _residency, _packer, chunks, compressor, Meter, options, model.Limits.MaxLogitRows, time);
        _runner = new ModelRunner(model, Cache, sums, chunks, options, Clock);
        _overlaps = options.AsyncScheduling;
        _sampler = new Sampler(model.Config, model.Backend);
        _outbox = new Outbox(time);
        Recovery = new StepRecovery(Compute, _scheduler, _runner, new StepReversal(_scheduler.Roster, _residency, Meter, _runner.Snapshot), options, time);
        (_watch, _faults) = (new StepWatch(time), options.Faults);
        _checks = new EngineChecks(Cache, _scheduler.Roster);
#if DEBUG
        ChecksEveryStep = true;
#endif
        Publish();
    }

    /// <summary>The cache, for checks.</summary>
    public KvCache Cache { get; }

    /// <summary>How long cached blocks live.</summary>
    public BlockAges Ages { get; }

    /// <summary>Host memory of preempted sequences, for checks.</summary>
    public KvSwap Swap { get; }

    /// <summary>Counts by KV policy.</summary>
    public KvMeter Meter { get; }

    /// <summary>What becomes of steps that the device refuses.</summary>
    public StepRecovery Recovery { get; }

    /// <summary>The step that is being taken; null between steps. Any thread.</summary>
    public RunningStep? RunningStep => _watch.Read();

    /// <summary>Blocks quantised so far.</summary>
    public long PackedBlocks => _packer.PackedBlocks;

    /// <summary>Steps that were called before the tokens of the one before were known.</summary>
    public long StepsAhead { get; private set; }

    /// <summary>Last published counters.</summary>
    public StatisticsBoard Statistics { get; } = new();

    /// <summary>How long steps take. Its histograms are for any thread.</summary>
    public StepClock Clock { get; }

    /// <summary>State of the engine thread.</summary>
    public EngineState State => (EngineState)Volatile.Read(ref _state);

    /// <summary>What ended the thread; null unless <see cref="EngineState.Dead"/>.</summary>
    public Exception? Fault { get; private set; }

    /// <summary>Nobody runs or waits, for checks.</summary>
    public bool IsIdle => _scheduler.Roster.IsIdle;

    /// <summary>Ends when the thread has ended.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Check all of <see cref="EngineChecks"/> in every step, in any build; on in debug builds and in tests.</summary>
    public bool ChecksEveryStep
    {
        get => Cache.ChecksWrites;
        set => Cache.ChecksWrites = value;
    }

    /// <summary>One iteration. False: there was nothing to do.</summary>
    /// <remarks>
    /// Where the backend chooses tokens itself, a step may stay underway until the next iteration has called the step behind it
    /// (<see cref="StepAhead"/>): the device never waits for the host. What callers read is the same.</remarks>
    public bool Step()
    {
        Ages.Now = _time.GetTimestamp();
        if (_underway is null)
            Clock.Begin(Ages.Now);
        (long steps, long ended) = (Clock.Steps, Clock.Ended);
        _watch.Begin(Ages.Now);
        AdmitArrivals();                // inbox: new requests and cancellations
        Batch? ahead = Follow();
        Batch batch = ahead ?? Begin();
        if (_overlaps && Recovery.IsWell && StepAhead.MayFollow(batch, _onDevice))
            Compress(batch);            // its selectors need nothing of the device
        else
            Land();                     // tokens to their callers
        if (Clock.Ended == ended || (ahead is null && _underway is not null))
            Publish();                  // no step ended, which would have, or who was admitted after it is underway
        if (ChecksEveryStep)
            AssertConsistent();
        _watch.End();
        return Clock.Steps > steps;
    }

    /// <summary>The step behind the one underway, called before the tokens of that are known. Null: it had to end first, or there was none.</summary>
    private Batch? Follow()
    {
        // Its ids lie on the device in the order of the batch as it was called: not if somebody was cancelled since.
        Batch? batch = _underway is null || _underway.Items.Length != _onDevice ? null : _scheduler.ScheduleAhead(_underway);
        if (batch is null)
        {
            Land();
            return null;
        }

        try
        {
            Run(batch, ahead: true);
            Sample(batch, ahead: true);
        }
        catch (Exception cause) when (Recovery.IsRefusal(cause))
        {
            Land(batch);
            Recovery.TakeBack(batch, cause);
            return null;
        }

        StepsAhead++;
        Land(batch);
        Commit(batch);
        _underway = batch;
        return batch;
    }

    /// <summary>A step of whoever is to run now.</summary>
    private Batch Begin()
    {
        Batch batch = Recovery.Take();          // computes; what the device refuses is taken again, smaller
        EndFailed();
        if (batch.IsEmpty)
            return batch;
        Commit(batch);
        _policies.PackShared(batch);            // packed once for all choices
        _scheduler.Share(batch);                // further choices of a computed prompt
        Sample(batch);                          // one token for every sequence whose tokens are all computed
        _underway = batch;
        return batch;
    }

    /// <summary>Chooses a step and runs it; nothing of it counts before it is committed.</summary>
    private Batch Compute()
    {
        Batch batch = _scheduler.Schedule();    // reserve blocks, choose token ranges
        EndFailed();
        if (!batch.IsEmpty)
            Run(batch, ahead: false);
        return batch;
    }

    /// <summary>Body of the engine thread.</summary>
    public void Run()
    {
        try
        {
            _runner.Prepare();
            while (!IsOver())
            {
                if (Step())
                    continue;
                _inbox.PrepareToPark();
                // Looks once more, because a wake-up before the line above was not remembered.
                if (!Step() && (State == EngineState.Running || !_scheduler.Roster.IsIdle))
                    _inbox.Park(HeartbeatInterval);
            }

            Interlocked.Exchange(ref _state, (int)EngineState.Stopped);
        }
#pragma warning disable CA1031 // The thread must not take the process down: whatever it was, all streams end with it.
        catch (Exception fault)
#pragma warning restore CA1031
        {
            Die(fault);
        }

        _ended.TrySetResult();
    }

    /// <summary>Puts every running sequence back to waiting, for checks.</summary>
    public void PreemptAll()
    {
        Land();
        _scheduler.PreemptAll();
    }

    /// <summary>Any thread: takes no more work; the thread ends with the last request.</summary>
    public void Drain(bool cancelRest)
    {
        Interlocked.CompareExchange(ref _state, (int)EngineState.Draining, (int)EngineState.Running);
        if (cancelRest)
            Volatile.Write(ref _cancelAll, 1);
        _inbox.Wake();
    }

    /// <summary>Any thread: drops unowned cached prefixes at the next step.</summary>
    public void ResetPrefixes()
    {
        Volatile.Write(ref _resetPrefixes, 1);
        _inbox.Wake();
    }

    /// <summary>Checks that every block is accounted for.</summary>
    /// <exception cref="InvalidOperationException">An invariant is broken.</exception>
    public void AssertConsistent() => _checks.AfterStep();

    private void AdmitArrivals()
    {
        TakeArrivals();
        while (_inbox.TryTakeCancellation(out Generation? generation))
        {
            TakeArrivals(); // a request is queued before anyone can cancel it
            generation!.TakeCancel();
            foreach (Sequence sequence in generation.Sequences)
                if (generation.IsCancelled(sequence.Choice))
                    Cancel(sequence);
        }

        if (Volatile.Read(ref _cancelAll) == 1)
            foreach (Sequence sequence in _scheduler.Roster.All().ToArray())
                Cancel(sequence);
        if (Interlocked.Exchange(ref _resetPrefixes, 0) == 1)
            Cache.ResetPrefixes();
    }

    private void TakeArrivals()
    {
        while (_inbox.TryTakeArrival(out Generation? generation))
        {
            _outbox.Open(generation!);
            _scheduler.Roster.Enqueue(generation!);
        }
    }

    private void Cancel(Sequence sequence)
    {
        if (sequence.State == SequenceState.Finished)
            return;
        sequence.Finish = FinishReason.Cancelled;
        _underway?.Remove(sequence);
        _scheduler.Endings.End(sequence);
        _outbox.PublishEnd(sequence);
    }

    private void EndFailed()
    {
        foreach (Sequence sequence in _scheduler.Endings.Failed)
            _outbox.PublishEnd(sequence);
        _scheduler.Endings.Failed.Clear();
    }

    private void Run(Batch batch, bool ahead)
    {
        _watch.Shape(batch.Items.Length, batch.Tokens);
        if (ChecksEveryStep)
            _checks.BeforeForward(batch);
        _logits = _runner.Run(batch, ahead);    // pack, forward
        Clock.Count(batch);
    }

    private void Commit(Batch batch)
    {
        _runner.Commit(batch);
        if (ChecksEveryStep)
            EngineChecks.AfterForward(batch);
    }

    private void Sample(Batch batch, bool ahead = false)
    {
        long start = Clock.Now;
        _onDevice = _sampler.Begin(batch, _logits, _runner.NextIds, ahead);
        Clock.AddComputing(start);
    }

    /// <summary>Ends the step underway: waits for its tokens, lets the policies answer and sends the tokens to their callers.</summary>
    /// <param name="follower">A step that was called behind it; whoever ended is taken out.</param>
    private void Land(Batch? follower = null)
    {
        if (_underway is not Batch batch)
            return;
        long start = Clock.Now;
        _sampler.End();
        Clock.AddComputing(start);
        if (!_compressed)
            Compress(batch);                    // the policy answers, the cache obeys
        if (follower is not null)
            _scheduler.TakeOut(batch, follower);
        _scheduler.Endings.Retire();            // the finished give their blocks back
        Clock.End();
        _outbox.Count(batch);
        Publish();                              // first: who has a token finds it counted
        _faults.At(FaultPoint.Publish);
        _outbox.Publish(batch);                 // token ids to their callers
        (_underway, _compressed) = (null, false);
    }

    private void Compress(Batch batch)
    {
        _policies.Ask(batch);
        _compressed = true;
        if (ChecksEveryStep)
            EngineChecks.AfterCompression(batch);
    }

    private void ReleaseDoor()
    {
        (int choices, int tokens) = _scheduler.Roster.TakeLeftDoor();
        if (choices > 0)
            _inbox.Unreserve(choices, tokens);
    }

    private bool IsOver()
    {
        if (State != EngineState.Draining || !_scheduler.Roster.IsIdle || _inbox.HasMail)
            return false;
        _inbox.Close();
        return !_inbox.HasMail;
    }

    private void Die(Exception fault)
    {
        Fault = fault;
        Interlocked.Exchange(ref _state, (int)EngineState.Dead);
        _inbox.Close();
        // Nobody runs or waits any more, and no step is being taken: what was published last would say so for ever.
        Statistics.Publish(Statistics.Read() with { Running = 0, Waiting = 0 });
        _watch.End();
        while (_inbox.TryTakeArrival(out Generation? generation))
            _outbox.Open(generation!);
        _outbox.FailAll($"the engine ended with a fault: {fault.GetType().Name}: {fault.Message}");
    }

    /// <summary>What happened at the door and what there is now, for other threads.</summary>
    private void Publish()
    {
        ReleaseDoor();
        Statistics.Publish(new EngineStatistics(
            _scheduler.Roster.Running.Count, _scheduler.Roster.Waiting.Count, Cache.Blocks.Total, Cache.Blocks.Used, Cache.Blocks.Cached,
            _scheduler.Preemptions, _residency.PrefixQueryTokens, _residency.PrefixHitTokens, _scheduler.PromptTokens,
            _outbox.GeneratedTokens, Clock.Steps, Clock.BusySeconds, Clock.BusyHostSeconds));
        // A walk over all tables, so not in every step; but what is gone must not stay on show.
        if (_scheduler.Roster.IsIdle != _heldNothing || _time.GetElapsedTime(_heldAt) >= HeldInterval)
        {
            Meter.NoteHeld(_scheduler.Roster);
            (_heldNothing, _heldAt) = (_scheduler.Roster.IsIdle, _time.GetTimestamp());
        }
    }
}
