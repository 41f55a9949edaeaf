using InferenceService.Compute;
using InferenceService.Models.Architectures;

namespace InferenceService.Models.Layers;

/// <summary>Grouped-query attention (arXiv:2305.13245) of one layer over the paged cache.</summary>
internal sealed class Attention
{
    private readonly IBackend _backend;
    private readonly Workspace _work;
    private readonly CacheLanes _lanes;
    private readonly int _headDim;
    private readonly int _queryColumns;
    private readonly int _keyColumns;
    private readonly float _epsilon;
    private readonly float _scale;
    private readonly int _window;
    private readonly bool _ownsCache;
    private readonly bool _excludesSelf;
    private readonly bool _rotates;
    private readonly Weight _qkv;
    private readonly Tensor? _qkvBias;
    private readonly Tensor? _queryNorm;
    private readonly Tensor? _keyNorm;
    private readonly Weight _output;
    private readonly Tensor? _outputBias;

    /// <summary>Loads the weights of one layer.</summary>
    public Attention(ModelConfig config, int layer, LayerWeights weights, WeightLoader loader, IBackend backend, Workspace work, CacheLanes lanes)
    {
        _backend = backend;
        _work = work;
        _lanes = lanes;
        _headDim = config.HeadDim;
        _queryColumns = config.Heads * config.HeadDim;
        _keyColumns = config.KvHeads * config.HeadDim;
        _epsilon = config.RmsNormEpsilon;
        _scale = (float)(1 / Math.Sqrt(config.HeadDim));
        _window = config.Windows[layer];
        _ownsCache = config.KvSources[layer] == layer;
        _excludesSelf = config.ForceNoDiagonal || config.KvSources[layer] > layer;
        _rotates = config.UsesRope[layer];
        _qkv = loader.Stack(weights.Qkv);
        _qkvBias = weights.QkvBias.IsEmpty ? null : loader.Vector(weights.QkvBias.AsSpan());
        _queryNorm = weights.QueryNorm is { } queryNorm ? loader.Vector(queryNorm) : null;
        _keyNorm = weights.KeyNorm is { } keyNorm ? loader.Vector(keyNorm) : null;
        _output = loader.Matrix(weights.AttentionOutput);
        _outputBias = weights.AttentionOutputBias is { } outputBias ? loader.Vector(outputBias) : null;
    }

    /// <summary>Projects to q, k and v, norms and rotates them, and writes K and V of every row into the cache; a layer that reads another's has only q.</summary>
    /// <param name="x">[rows, hidden].</param>
    /// <param name="step">The step.</param>
    /// <param name="keepCache">Leave the cache as it is: only queries are wanted.</param>
    public void Project(Tensor x, in LayerStep step, bool keepCache = false)
    {
        Tensor projected = Projected(step.Rows);
        _backend.MatMul(x, _qkv, projected);
        if (_qkvBias is { } bias)
            _backend.AddBias(projected, bias);
        Tensor q = projected.ColumnRange(0, _queryColumns);
        if (_queryNorm is { } queryNorm)
            _backend.RmsNorm(q, queryNorm, _epsilon, q);
        if (SinkQueries(step) is { } sinkQueries)
        {
            _backend.Embed(q, _work.RowNumbers.ColumnRange(0, step.Rows), sinkQueries);
            _backend.Rope(sinkQueries, step.SinkCosSin!.Value, _headDim);
        }

        if (!_ownsCache || keepCache)
        {
            if (_rotates)
                _backend.Rope(q, step.CosSin, _headDim);
            return;
        }

        Tensor k = projected.ColumnRange(_queryColumns, _keyColumns), v = projected.ColumnRange(_queryColumns + _keyColumns, _keyColumns);
        if (_keyNorm is { } keyNorm)
            _backend.RmsNorm(k, keyNorm, _epsilon, k);
        if (_rotates)
            _backend.RopeWriteKv(q, k, v, step.CosSin, Cache(step));
        else
            _backend.WriteKv(k, v, Cache(step));
    }

    /// <summary>Writes zeros for K and V of every row.</summary>
    /// <param name="zeros">[rows, kvHeads·headDim].</param>
    public void ClearKv(Tensor zeros, in LayerStep step) => _backend.WriteKv(zeros, zeros, Cache(step));

    /// <summary>[rows, (heads + 2·kvHeads)·headDim] what <see cref="Project"/> left behind: q, and of a layer that owns its cache k and v.</summary>
    public Tensor Projected(int rows) => _work.Qkv.RowRange(0, rows) with { Columns = _qkv.Rows, RowStride = _qkv.Rows };

    /// <summary>Attends with the queries that <see cref="Project"/> left behind.</summary>
    /// <returns>[rows, heads·headDim], valid until the next layer attends.</returns>
    public Tensor Attend(in LayerStep step)
    {
        Tensor q = Projected(step.Rows).ColumnRange(0, _queryColumns), attended = _work.Attended.RowRange(0, step.Rows);
        _backend.Attention(q, Cache(step), step.Probe with { LayerRow = _lanes.ProbeRow }, attended);
        return attended;
    }

    /// <summary>Brings heads back to the width of the residual stream.</summary>
    /// <param name="attended">[rows, heads·headDim].</param>
    /// <param name="output">[rows, hidden].</param>
    public void Output(Tensor attended, Tensor output)
    {
        _backend.MatMul(attended, _output, output);
        if (_outputBias is { } bias)
            _backend.AddBias(output, bias);
    }

    private PagedKv Cache(in LayerStep step) =>
        new(step.Kv, _lanes.Group, _lanes.Offset, _scale, _window, _excludesSelf, SinkQueries(step));

    /// <summary>[rows, heads·headDim] where the queries for the sinks lie; null when q serves all, as in a layer without rotation.</summary>
    private Tensor? SinkQueries(in LayerStep step) => _rotates && step.SinkCosSin is not null ? _work.SinkQueries.RowRange(0, step.Rows) : null;
}
