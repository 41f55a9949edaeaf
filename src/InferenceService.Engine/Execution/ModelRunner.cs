using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Faults;
using InferenceService.Engine.Scheduling;
using InferenceService.Models;

namespace InferenceService.Engine.Execution;

/// <summary>A batch becomes a forward pass, or several where prompt chunks go alone: token ids, positions and block tables packed into buffers that live as long as the engine.</summary>
/// <remarks>Allocates nothing, except when tables outgrow their buffer. Engine thread only.</remarks>
internal sealed class ModelRunner
{
    private readonly DecoderModel _model;
    private readonly KvCache _cache;
    private readonly SumStore _sums;
    private readonly PromptChunks _chunks;
    private readonly StepInput _input;
    private readonly StepClock _clock;
    private readonly IFaultInjection _faults;
    private readonly int _maxSequences;
    private readonly bool _repeats;
    private int _logits;
    private bool _ahead;

    /// <summary>Buffers for the largest step.</summary>
    public ModelRunner(DecoderModel model, KvCache cache, SumStore sums, PromptChunks chunks, EngineOptions options, StepClock clock)
    {
        (_model, _cache, _sums, _chunks, _clock) = (model, cache, sums, chunks, clock);
        Snapshot = new SumSnapshot(sums);
        (_maxSequences, _repeats, _faults) = (options.MaxNumSeqs, model.Backend.CanRecord, options.Faults);
        _input = new StepInput(model.Backend, cache.Layout.Groups, options.MaxNumSeqs, options.MaxBatchTokens, model.Limits.MaxLogitRows, cache.Format.BlockSize,
            endsEarly: model.Layout.LastOwner < model.Config.Layers - 1);
    }

    /// <summary>A batch goes or went through the model and nothing of it is committed; so it stays when <see cref="Run"/> throws.</summary>
    public bool IsComputing { get; set; }

    /// <summary>
    /// Steps are being refused: they are taken operation by operation even where they were recorded, because a recording takes memory of
    /// its own, and with a <see cref="Snapshot"/>.
    /// </summary>
    public bool IsCareful { get; set; }

    /// <summary>Sums before the last step.</summary>
    public SumSnapshot Snapshot { get; }

    /// <summary>Takes the smallest step there is, one row that belongs to nobody: does the device work?</summary>
    public void RunNobody()
    {
        (_logits, _ahead) = (0, false);
        _input.Clear();
        _input.Pad(1);
        IsComputing = true;
        _faults.At(FaultPoint.Forward);
        Forward();
        IsComputing = false;
    }

    /// <summary>Lets the backend record a decode step of every size, the largest first, before anybody waits for one.</summary>
    public void Prepare()
    {
        for (int rows = _repeats ? _maxSequences : 0; rows > 0; rows = StepBuckets.Below(rows))
        {
            for (int time = 0; time < 2; time++)
            {
                (_logits, _ahead) = (0, false);
                _input.Clear();
                _input.Pad(rows);
                Forward();
            }
        }
    }

    /// <summary>i32 [1, rows] where <see cref="Sampling.Sampler.Begin"/> leaves ids for a step that runs ahead.</summary>
    public Tensor NextIds => _model.TokenIds;

    /// <summary>Runs the batch: K and V of all its tokens go to the cache, which knows of them after <see cref="Commit"/>.</summary>
    /// <param name="batch">Scheduled.</param>
    /// <param name="ahead">One token a sequence, whose ids stand in <see cref="NextIds"/> and are not known here.</param>
    /// <returns>f32 [logit rows, vocabulary], valid until the next call.</returns>
    public Tensor Run(Batch batch, bool ahead = false)
    {
        (_logits, _ahead) = (0, ahead);
        _input.Clear();
        if (IsCareful)
            Snapshot.Take(batch);
        IsComputing = true;
        _faults.At(FaultPoint.Forward);
        foreach (ref BatchItem item in batch.Items)
            if (!item.IsRider && (!_chunks.AreFixed || item.Count == 1))
                Add(ref item);
        Forward();
        // The passes of a chunk depend on this chunk alone, so it goes alone.
        foreach (ref BatchItem item in batch.Items)
        {
            if (!_chunks.AreFixed || item.Count <= 1)
                continue;
            Add(ref item);
            Forward();
        }

        PlaceRiders(batch);
        _faults.At(FaultPoint.Commit);
        return _model.Logits(_logits);
    }

    private void Add(ref BatchItem item)
    {
        Sequence sequence = item.Sequence;
        SequenceCache cache = sequence.Cache!;
        item.FirstLogit = _logits + _input.Add(
            _ahead ? [0] : sequence.Tokens.Slice(item.Start, item.Count), item.Start, item.LogitRows, cache, sequence.Generation.Policy.Mask);
        if (cache.SumRow >= 0 && cache.Watch.Sums != AttentionSums.None)
            _sums.Reach(cache.SumRow, cache.LongestTable + item.Count);
    }

    private void Forward()
    {
        if (_input.TokenIds.IsEmpty)
            return;
        bool repeats = _repeats && !IsCareful && _input.IsDecode;
        if (repeats)
            _input.Pad(StepBuckets.Of(_input.TokenIds.Length, _maxSequences));
        _input.Upload();
        KvBatch kv = _input.Kv(_cache.Memory, _cache.Format);
        long start = _clock.Now;
        _model.Forward(new ForwardInput
        {
            TokenIds = _input.TokenIds,
            TokenIdsInPlace = _ahead,
            Positions = _input.Positions,
            SinkPositions = _input.SinkPositions,
            LogitRows = _input.LogitRows,
            FirstLogit = _logits,
            Repeats = repeats,
            Kv = kv,
            LogitKv = _input.LogitKv(kv),
            Probe = Probe(),
        });
        _clock.AddComputing(start);
        _logits += _input.LogitRows.Length;
        _input.Clear();
    }

    private AttentionProbe Probe() => _input.Wanted == AttentionSums.None ? default : new AttentionProbe(
        _input.Wanted, _sums.Of(AttentionSums.Columns), _sums.Of(AttentionSums.Band), _sums.Of(AttentionSums.RangeMass),
        _input.SequenceRows, _input.ObservedRows, 0)
    { HeadRows = _sums.Lanes };

    private static void PlaceRiders(Batch batch)
    {
        int lastLogit = -1;
        foreach (ref BatchItem item in batch.Items)
        {
            if (item.IsRider)
                (item.FirstLogit, item.LogitRows) = (lastLogit, item.Samples ? 1 : 0);
            else
                lastLogit = item.FirstLogit + item.LogitRows - 1;
        }
    }

    /// <summary>States that the batch ran, and offers full blocks for reuse. Its tokens are known by now.</summary>
    public void Commit(Batch batch)
    {
        IsComputing = false;
        foreach (ref readonly BatchItem item in batch.Items)
        {
            if (item.IsRider)
                continue;
            Sequence sequence = item.Sequence;
            sequence.Cache!.Advance(item.Start, item.Count);
            sequence.Computed = item.Start + item.Count;
            if (!_cache.HasPrefixes)
                continue;
            sequence.ExtendPrefixKeys(_cache.Format.BlockSize);
            int whole = _chunks.Shareable(sequence, sequence.Computed) / _cache.Format.BlockSize;
            _cache.OfferPrefix(sequence.Cache, sequence.PrefixKeys[..Math.Min(whole, sequence.PrefixKeys.Length)], sequence.Generation.Policy.Mask);
        }
    }
}
