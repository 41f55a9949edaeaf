using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Scheduling;

/// <summary>Decides who runs in the next step: decode first, then prompt chunks, then whoever waits, under one token budget.</summary>
/// <remarks>
/// Order everywhere is priority, then who entered first; who enters next is the client's turn (<see cref="WaitingQueue"/>), which for one
/// client is arrival. Nobody overtakes a waiting sequence that lacks blocks, unless its client was given more meanwhile; the one that
/// entered last gives way when an earlier one needs blocks, and comes back before anybody new enters. So the first always finishes, and
/// nobody starves within a priority. A sequence whose caller does not read is left out, and is the first to give way. Engine thread only.
/// </remarks>
internal sealed class Scheduler
{
    private readonly KvCache _cache;
    private readonly Residency _residency;
    private readonly PromptChunks _chunks;
    private readonly EngineOptions _options;
    private readonly int _maxLogitRows;
    private readonly TimeProvider _time;
    private readonly Headroom _headroom;
    private readonly Preemption _preemption;
    private readonly StepAhead _ahead;
    private readonly Func<int> _leave; // kept, because a method group allocates
    private readonly List<Sequence> _turn;
    private Batch _batch;
    private Batch _other; // the step before, which may still run
    private long _step;

    /// <summary>A scheduler with nothing to do.</summary>
    public Scheduler(
        KvCache cache, Residency residency, KvPacker packer, PromptChunks chunks, KvCompressor compressor, KvMeter meter, EngineOptions options, int maxLogitRows,
        TimeProvider time)
    {
        (_cache, _residency, _chunks) = (cache, residency, chunks);
        (_options, _maxLogitRows, _time) = (options, maxLogitRows, time);
        (_batch, _other) = (new Batch(options.MaxNumSeqs), new Batch(options.MaxNumSeqs));
        Roster = new Roster(options.MaxNumSeqs);
        Limit = Largest = new StepLimit(options.MaxNumSeqs, options.MaxBatchTokens);
        _headroom = new Headroom(cache, packer, Roster);
        Endings = new Endings(Roster, meter, residency);
        _preemption = new Preemption(cache, residency, compressor, meter, Roster, _headroom, Endings, time);
        _ahead = new StepAhead(cache, Roster, _headroom);
        _leave = _headroom.LeftByNewcomers;
        _turn = new List<Sequence>(options.MaxNumSeqs);
    }

    /// <summary>Who waits and who runs.</summary>
    public Roster Roster { get; }

    /// <summary>The step chosen last.</summary>
    public Batch Batch => _batch;

    /// <summary>What the options allow a step.</summary>
    public StepLimit Largest { get; }

    /// <summary>Most of a step: less than <see cref="Largest"/> while the device refuses that. Those left out stay where they are.</summary>
    public StepLimit Limit { get; set; }

    /// <summary>Ends sequences.</summary>
    public Endings Endings { get; }

    /// <summary>Sequences put back to waiting, since start.</summary>
    public long Preemptions => _preemption.Count;

    /// <summary>Prompt tokens of admitted requests.</summary>
    public long PromptTokens { get; private set; }

    /// <summary>Chooses the next step. Blocks for all its tokens are taken.</summary>
    public Batch Schedule()
    {
        TurnBatch();
        _turn.Clear();
        _turn.AddRange(Roster.Running);
        foreach (Sequence sequence in _turn)
            if (sequence.Remaining == 1)
                Continue(sequence);
        foreach (Sequence sequence in _turn)
            if (sequence.Remaining > 1)
                Continue(sequence);
        Admit();
        _batch.ChargeTokens();
        return _batch;
    }

    /// <summary>Chooses the step behind one that still runs, whose tokens are not known. Blocks for all its tokens are taken.</summary>
    /// <param name="running">What this or <see cref="Schedule"/> gave last.</param>
    /// <returns>Null: what follows is not certain before those tokens are known.</returns>
    public Batch? ScheduleAhead(Batch running)
    {
        TurnBatch();
        if (_ahead.TryFill(running, _batch))
        {
            _batch.ChargeTokens();
            return _batch;
        }

        (_batch, _other) = (_other, _batch);
        return null;
    }

    /// <summary>Who ended with a step has no place in the one behind it.</summary>
    public void TakeOut(Batch ended, Batch behind) => _ahead.TakeOut(ended, behind);

    /// <summary>Nobody runs in this step.</summary>
    public Batch Rest()
    {
        _batch.Clear();
        return _batch;
    }

    private void TurnBatch()
    {
        (_batch, _other) = (_other, _batch);
        _batch.Clear();
        _batch.Step = ++_step;
        _headroom.Begin(_batch);
    }

    /// <summary>Choices that joined a prompt which is now computed share its blocks.</summary>
    public void Share(Batch batch)
    {
        Sequence? owner = null;
        foreach (ref readonly BatchItem item in batch.Items)
        {
            if (item.IsRider)
                _residency.Fork(owner!, item.Sequence);
            else
                owner = item.Sequence;
        }
    }

    /// <summary>Puts every running sequence back to waiting.</summary>
    public void PreemptAll() => _preemption.PreemptAll(_batch);

    private void Continue(Sequence sequence)
    {
        if (sequence.State != SequenceState.Running || _batch.Saw(sequence) || _batch.Items.Length >= Limit.Sequences)
            return;
        int count = ChunkOf(sequence, out int logitRows, out bool completes);
        if (count == 0 || (completes && Preemption.IsPaused(sequence)))
            return;
        int reserve = _headroom.Of(sequence, count);
        if (!_preemption.MakeRoom(_batch, sequence, count, reserve) || !Endings.TryWatch(sequence, count))
            return;
        _cache.Grow(sequence.Cache!, count);
        _batch.Reserved += reserve;
        bool samples = completes && sequence.Request.MaxTokens > 0;
        _batch.Add(sequence, count, _chunks.CostOf(count), logitRows, samples);
        sequence.ScheduledStep = _batch.Step;
        if (completes && sequence.Generation.PromptOwner == sequence)
            ShareTurn(sequence, samples);
    }

    /// <summary>Tokens of the sequence's next range: all that remain, within budget, chunk size and logit rows. 0 = not this step.</summary>
    private int ChunkOf(Sequence sequence, out int logitRows, out bool completes)
    {
        int count = _chunks.AreFixed ? FixedChunkOf(sequence) : FreeChunkOf(sequence);
        int rowsLeft = _maxLogitRows - _batch.LogitRows;
        bool allRows = sequence.Generation.NeedsPromptLogprobs && sequence.Computed < sequence.PromptLength;
        if (allRows && !_chunks.AreFixed)
            count = Math.Min(count, rowsLeft);
        completes = count == sequence.Remaining;
        logitRows = allRows ? count : completes && sequence.Request.MaxTokens > 0 ? 1 : 0;
        return logitRows <= rowsLeft ? count : 0;
    }

    /// <summary>A chunk that cannot be cut goes when it fits the budget, or when no other goes.</summary>
    private int FixedChunkOf(Sequence sequence)
    {
        int count = _chunks.Next(sequence);
        return _chunks.CostOf(count) <= Limit.Tokens - _batch.Cost || (count > 1 && _batch.Chunks == 0) ? count : 0;
    }

    private int FreeChunkOf(Sequence sequence)
    {
        int count = Math.Min(sequence.Remaining, Limit.Tokens - _batch.Cost);
        if (sequence.Remaining > 1 && _options.MaxChunkTokens is int most)
            count = Math.Min(count, most);
        // A selector looks at the cache when the prompt ends and after every token that follows, also when they are replayed. Under a
        // mask it only drops what no row sees any more, so that it may come late, but not too late for the memory it is to save.
        KvMask mask = sequence.Generation.Policy.Mask;
        count = Math.Min(count, MaskedChunk(mask, waitingElsewhere: Roster.Waiting.Count));
        if (sequence.GoesTokenByToken)
            count = Math.Min(count, Math.Max(1, sequence.PromptLength - sequence.Computed));
        return count;
    }

    /// <summary>Most tokens of a chunk under a mask.</summary>
    /// <param name="mask">What a row sees.</param>
    /// <param name="waitingElsewhere">Other sequences that wait.</param>
    private int MaskedChunk(KvMask mask, int waitingElsewhere) =>
        waitingElsewhere > 0 ? mask.CrowdedChunkTokens(_cache.Format.BlockSize) : mask.ChunkTokens(_cache.Format.BlockSize);

    /// <summary>Choices of the same request join: they need no blocks yet, only a place in the batch.</summary>
    private void ShareTurn(Sequence owner, bool samples)
    {
        Generation generation = owner.Generation;
        generation.PromptOwner = null;
        if (owner.GeneratedCount > 0)
            return;
        foreach (Sequence sibling in generation.Sequences)
        {
            if (sibling == owner || sibling.State != SequenceState.Waiting || sibling.GeneratedCount > 0 || sibling.Swapped is not null)
                continue;
            int reserve = _headroom.OfRider(owner);
            if (Roster.IsFull || _headroom.Free < reserve)
                return;
            if (!Prepare(sibling))
                continue;
            _batch.Reserved += reserve;
            Start(sibling, ownsPrompt: false);
            _batch.AddRider(sibling, samples);
            sibling.ScheduledStep = _batch.Step;
        }
    }

    private void Admit()
    {
        if (Roster.IsFull && Roster.Waiting.Count > 0)
            _preemption.ParkPaused(_batch);
        int skip = 0;
        while (!Roster.IsFull && _batch.Cost < Limit.Tokens && _batch.Items.Length < Limit.Sequences && Roster.Waiting.Next(skip) is Sequence sequence)
        {
            if (IsHeld(sequence) || Preemption.IsPaused(sequence))
            {
                skip++; // it has been in a batch: who never was is neither
                continue;
            }

            int chunk = MaskedChunk(sequence.Generation.Policy.Mask, waitingElsewhere: Roster.Waiting.Count - 1);
            if (_residency.TryEnter(sequence, _leave, chunk, out string? error))
            {
                Start(sequence, ownsPrompt: sequence.GeneratedCount == 0);
                Continue(sequence);
                if (sequence.State == SequenceState.Waiting)
                    return;
            }
            else if (error is not null)
            {
                Endings.Refuse(sequence, error);
            }
            else if (!_preemption.ParkPaused(_batch))
            {
                _ahead.NoteRefusal();
                return;
            }
        }
    }

    private void Start(Sequence sequence, bool ownsPrompt)
    {
        Generation generation = sequence.Generation;
        Roster.Start(sequence);
        if (ownsPrompt)
            generation.PromptOwner ??= sequence;
        if (generation.WasAdmitted)
        {
            if (generation.Preemptions.Count > 0)
                generation.MarkReturned(sequence.Choice, _time.GetTimestamp());
            return;
        }

        generation.WasAdmitted = true;
        generation.Client.Charge(Math.Max(1, sequence.PromptLength - sequence.Computed));
        PromptTokens += sequence.PromptLength;
        generation.MarkScheduled(_time.GetTimestamp(), sequence.Computed);
    }

    private bool Prepare(Sequence sibling)
    {
        if (_residency.TryPrepare(sibling, out string? error))
            return true;
        Endings.Refuse(sibling, error!);
        return false;
    }

    /// <summary>Its request's prompt is being computed by another choice, whose blocks it will share.</summary>
    private static bool IsHeld(Sequence sequence) =>
        sequence.Generation.PromptOwner is Sequence owner && owner != sequence && sequence.GeneratedCount == 0;
}
