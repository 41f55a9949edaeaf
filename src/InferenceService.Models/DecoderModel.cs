using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Models.Architectures;
using InferenceService.Models.Layers;

namespace InferenceService.Models;

/// <summary>A loaded decoder: runs one forward pass at a time on its backend. Engine thread only.</summary>
public sealed class DecoderModel
{
    private readonly Workspace _work;
    private readonly RotaryEmbedding _rotary;
    private readonly float[] _cosSin;
    private readonly Tensor _embedding;
    private readonly DecoderLayer[] _layers;
    private readonly Tensor _finalNorm;
    private readonly Tensor _head;
    private KvBlockFormat _format;

    private DecoderModel(ModelConfig config, IBackend backend, KvLayout layout, DecoderLimits limits, WeightLoader loader, DecoderWeights weights)
    {
        (Config, Backend, Layout, Limits) = (config, backend, layout, limits);
        _work = new Workspace(config, limits, backend);
        _rotary = new RotaryEmbedding(config.Rope, config.MaxPositions);
        _cosSin = new float[limits.MaxRows * config.Rope.RotaryDim];
        _embedding = loader.Matrix(weights.Embedding);
        _layers = new DecoderLayer[config.Layers];
        for (int layer = 0; layer < _layers.Length; layer++)
            _layers[layer] = LoadLayer(layer, weights.Layers[layer], loader);
        _finalNorm = loader.Vector(weights.FinalNorm);
        _head = weights.Head is { } head ? loader.Matrix(head) : _embedding;
    }

    /// <summary>Shape of the model.</summary>
    public ModelConfig Config { get; }

    /// <summary>Device that holds weights and workspaces.</summary>
    public IBackend Backend { get; }

    /// <summary>Whose cache each layer reads.</summary>
    public KvLayout Layout { get; }

    /// <summary>Workspace sizes.</summary>
    public DecoderLimits Limits { get; }

    /// <summary>Called after each layer with its index and the residual stream; of the last layer only the rows with logits.</summary>
    internal Action<int, Tensor>? LayerFinished { get; set; }

    /// <summary>Takes the weights, fuses q/k/v and gate/up, allocates workspaces.</summary>
    /// <remarks>On the CPU unfused weights stay where <paramref name="weights"/> holds them: it must outlive the model.</remarks>
    /// <exception cref="CheckpointException">A weight is missing, or its shape or type is not what the architecture needs.</exception>
    public static DecoderModel Load(ModelConfig config, IWeightSource weights, IBackend backend, KvLayout layout, DecoderLimits limits,
        IProgress<LoadProgress>? progress = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limits.MaxRows, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(limits.MaxLogitRows);
        CheckLayout(config, layout);
        DecoderWeights needed = DecoderWeights.Of(config);
        long total = 0;
        foreach (WeightSpec spec in needed.All())
            total += WeightLoader.Fetch(weights, spec).ByteLength;
        return new DecoderModel(config, backend, layout, limits, new WeightLoader(weights, backend, total, progress), needed);
    }

    /// <summary>Runs all layers; writes K and V of every row into the cache.</summary>
    /// <returns>f32 [input.LogitRows.Length, vocabulary], valid until the next call.</returns>
    /// <exception cref="ArgumentException">The step does not fit the limits, or names a token or row that does not exist.</exception>
    /// <remarks>Allocates no managed memory, the first call with a new block format excepted.</remarks>
    public Tensor Forward(in ForwardInput input)
    {
        LayerStep step = Begin(input);
        Tensor residual = _work.Residual.RowRange(0, step.Rows);
        Tensor normed = _work.Normed.RowRange(0, step.Rows);
        Tensor projected = _work.Projected.RowRange(0, step.Rows);
        Backend.Embed(_embedding, _work.TokenIds.ColumnRange(0, step.Rows), residual);
        Backend.RmsNorm(residual, _layers[0].InputNorm, Config.RmsNormEpsilon, normed);
        for (int l = 0; l < _layers.Length - 1; l++)
        {
            DecoderLayer layer = _layers[l];
            layer.Attention.WriteKv(normed, step);
            layer.Attention.Project(layer.Attention.Attend(step), projected);
            Backend.AddRmsNorm(projected, residual, layer.PostAttentionNorm, Config.RmsNormEpsilon, normed);
            layer.Mlp.Forward(normed, projected);
            Backend.AddRmsNorm(projected, residual, _layers[l + 1].InputNorm, Config.RmsNormEpsilon, normed);
            LayerFinished?.Invoke(l, residual);
        }

        return Finish(step, normed, residual, input.LogitRows.Length);
    }

    /// <summary>The last layer, of which only K and V are needed on every row, and the output head.</summary>
    private Tensor Finish(in LayerStep step, Tensor normed, Tensor residual, int wanted)
    {
        DecoderLayer layer = _layers[^1];
        layer.Attention.WriteKv(normed, step);
        Tensor logits = _work.Logits.RowRange(0, wanted);
        if (wanted == 0 && step.Probe.Wanted == AttentionSums.None)
            return logits;
        Tensor attended = layer.Attention.Attend(step);
        if (wanted == 0)
            return logits;
        if (wanted < step.Rows)
        {
            Tensor rows = _work.LogitRows.ColumnRange(0, wanted);
            Tensor pickedAttended = _work.PickedAttended.RowRange(0, wanted), pickedResidual = _work.PickedResidual.RowRange(0, wanted);
            Backend.Embed(attended, rows, pickedAttended);
            Backend.Embed(residual, rows, pickedResidual);
            (attended, residual) = (pickedAttended, pickedResidual);
        }

        Tensor projected = _work.Projected.RowRange(0, wanted);
        normed = _work.Normed.RowRange(0, wanted);
        layer.Attention.Project(attended, projected);
        Backend.AddRmsNorm(projected, residual, layer.PostAttentionNorm, Config.RmsNormEpsilon, normed);
        layer.Mlp.Forward(normed, projected);
        Backend.AddRmsNorm(projected, residual, _finalNorm, Config.RmsNormEpsilon, normed);
        LayerFinished?.Invoke(_layers.Length - 1, residual);
        Backend.MatMul(normed, _head, logits);
        return logits;
    }

    /// <summary>Checks the step and uploads what all layers share.</summary>
    private LayerStep Begin(in ForwardInput input)
    {
        int rows = input.TokenIds.Length;
        _work.CheckFits(rows, input.LogitRows.Length);
        if (input.Positions.Length != rows)
            throw new ArgumentException($"A step of {rows} tokens has {input.Positions.Length} positions.");
        if (!input.SinkPositions.IsEmpty)
            throw new ArgumentException($"{input.SinkPositions.Length} sink positions; this decoder supports none.");
        foreach (int id in input.TokenIds)
        {
            if ((uint)id >= (uint)Config.VocabularySize)
                throw new ArgumentException($"Token id {id}; allowed: 0 to {Config.VocabularySize - 1}.");
        }

        int previous = -1;
        foreach (int row in input.LogitRows)
        {
            if (row <= previous || row >= rows)
                throw new ArgumentException($"Logit row {row} after row {previous} in a step of {rows} rows: rows must ascend and exist.");
            previous = row;
        }

        if (input.Kv.Format != _format)
            SetFormat(input.Kv.Format);
        Backend.Upload(MemoryMarshal.AsBytes(input.TokenIds), _work.TokenIds.ColumnRange(0, rows));
        if (input.LogitRows.Length > 0)
            Backend.Upload(MemoryMarshal.AsBytes(input.LogitRows), _work.LogitRows.ColumnRange(0, input.LogitRows.Length));
        Span<float> cosSin = _cosSin.AsSpan(0, rows * Config.Rope.RotaryDim);
        _rotary.Fill(input.Positions, cosSin);
        Backend.Upload(MemoryMarshal.AsBytes(cosSin), _work.CosSin.RowRange(0, rows));
        return new LayerStep(rows, input.Kv, input.Probe);
    }

    private void SetFormat(KvBlockFormat format)
    {
        if (format.HeadDim != Config.HeadDim || format.Lanes != Layout.LanesPerGroup)
        {
            throw new ArgumentException($"A KV block of {format.Lanes} lanes of {format.HeadDim} elements; "
                + $"the model's layout needs {Layout.LanesPerGroup} of {Config.HeadDim}.");
        }

        foreach (DecoderLayer layer in _layers)
            layer.Lanes.SetFormat(format);
        _format = format;
    }

    private DecoderLayer LoadLayer(int layer, LayerWeights weights, WeightLoader loader)
    {
        var lanes = new CacheLanes(Layout, layer, Backend);
        return new DecoderLayer(
            loader.Vector(weights.InputNorm),
            new Attention(Config, layer, weights, loader, Backend, _work, lanes),
            loader.Vector(weights.PostAttentionNorm),
            new GatedMlp(Config, weights, loader, Backend, _work),
            lanes);
    }

    private static void CheckLayout(ModelConfig config, KvLayout layout)
    {
        if (layout.SourceLayer.Length != config.Layers || layout.KvHeads != config.KvHeads)
        {
            throw new ArgumentException($"A KV layout of {layout.SourceLayer.Length} layers and {layout.KvHeads} KV heads "
                + $"for a model of {config.Layers} and {config.KvHeads}.", nameof(layout));
        }

        for (int layer = 0; layer < config.Layers; layer++)
        {
            if (layout.SourceLayer[layer] != layer)
                throw new ArgumentException($"Layer {layer} reads the cache of layer {layout.SourceLayer[layer]}; this decoder supports "
                    + "only layers that own their cache.", nameof(layout));
        }
    }
}

/// <summary>How far loading has come.</summary>
/// <param name="BytesDone">Weight bytes placed so far.</param>
/// <param name="BytesTotal">All weight bytes.</param>
public readonly record struct LoadProgress(long BytesDone, long BytesTotal);
