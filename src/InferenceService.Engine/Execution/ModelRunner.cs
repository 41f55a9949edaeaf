using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Scheduling;
using InferenceService.Models;

namespace InferenceService.Engine.Execution;

/// <summary>A batch becomes one forward pass: token ids, positions and block tables packed into buffers that live as long as the engine.</summary>
/// <remarks>Allocates nothing, except when tables outgrow their buffer. Engine thread only.</remarks>
internal sealed class ModelRunner
{
    private readonly DecoderModel _model;
    private readonly KvCache _cache;
    private readonly SumStore _sums;
    private readonly StepInput _input;
    private Tensor _logits;

    /// <summary>Buffers for the largest step.</summary>
    public ModelRunner(DecoderModel model, KvCache cache, SumStore sums, EngineOptions options)
    {
        (_model, _cache, _sums) = (model, cache, sums);
        _input = new StepInput(model.Backend, cache.Layout.Groups, options.MaxNumSeqs, options.MaxBatchTokens, model.Limits.MaxLogitRows);
    }

    /// <summary>Runs the batch; afterwards K and V of all its tokens are in the cache and its full blocks are offered for reuse.</summary>
    /// <returns>f32 [logit rows, vocabulary], valid until the next call.</returns>
    public Tensor Run(Batch batch)
    {
        Pack(batch);
        _logits = _model.Forward(new ForwardInput
        {
            TokenIds = _input.TokenIds,
            Positions = _input.Positions,
            SinkPositions = _input.SinkPositions,
            LogitRows = _input.LogitRows,
            Kv = _input.Kv(_cache.Memory, _cache.Format),
            Probe = Probe(),
        });
        Commit(batch);
        return _logits;
    }

    private AttentionProbe Probe() => _input.Wanted == AttentionSums.None ? default : new AttentionProbe(
        _input.Wanted, _sums.Of(AttentionSums.Columns), _sums.Of(AttentionSums.Band), _sums.Of(AttentionSums.RangeMass),
        _input.SequenceRows, _input.ObservedRows, 0);

    private void Pack(Batch batch)
    {
        _input.Clear();
        int lastLogit = -1;
        foreach (ref BatchItem item in batch.Items)
        {
            if (item.IsRider)
            {
                (item.FirstLogit, item.LogitRows) = (lastLogit, item.Samples ? 1 : 0);
                continue;
            }

            Sequence sequence = item.Sequence;
            sequence.Cache!.Watch = sequence.Selector?.Watch(item.Start, item.Count) ?? default;
            item.FirstLogit = _input.Add(
                sequence.Tokens.Slice(item.Start, item.Count), item.Start, item.LogitRows, sequence.Cache, sequence.Generation.Policy.Mask);
            lastLogit = item.FirstLogit + item.LogitRows - 1;
        }

        _input.Upload();
    }

    private void Commit(Batch batch)
    {
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
            _cache.OfferPrefix(sequence.Cache, sequence.PrefixKeys, sequence.Generation.Policy.Mask);
        }
    }
}
