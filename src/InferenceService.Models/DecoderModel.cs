using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Models.Architectures;
using InferenceService.Models.Layers;
using InferenceService.Models.Packed;

namespace InferenceService.Models;

/// <summary>A loaded decoder: runs one forward pass at a time on its backend. Engine thread only.</summary>
public sealed class DecoderModel
{
    private readonly Workspace _work;
    private readonly PromptLoop? _loop;
    private readonly RotaryEmbedding _rotary;
    private readonly float[] _cosSin;
    private readonly Tensor _embedding;
    private readonly DecoderLayer[] _layers;
    private readonly Tensor _finalNorm;
    private readonly Weight _head;
    private readonly StepRecords? _records;
    private KvBlockFormat _format;

    private DecoderModel(ModelConfig config, IBackend backend, KvLayout layout, DecoderLimits limits, WeightLoader loader, DecoderWeights weights)
    {
        (Config, Backend, Layout, Limits) = (config, backend, layout, limits);
        _work = new Workspace(config, limits, backend, loader.Format);
        _loop = layout.IsCyclic ? new PromptLoop(config, limits, backend) : null;
        _rotary = new RotaryEmbedding(config.Rope, config.MaxPositions);
        _cosSin = new float[limits.MaxRows * config.Rope.RotaryDim];
        _embedding = loader.Table(weights.Embedding);
        _layers = new DecoderLayer[config.Layers];
        for (int layer = 0; layer < _layers.Length; layer++)
            _layers[layer] = LoadLayer(layer, weights.Layers[layer], loader);
        _finalNorm = loader.Vector(weights.FinalNorm);
        _head = loader.Head(weights.Head, weights.Embedding, _embedding);
        Weights = loader.Facts;
        _records = backend.CanRecord ? new StepRecords(backend, step => _ = Run(step, step.Rows, 0, _layers.Length - 1, null)) : null;
    }

    /// <summary>Shape of the model.</summary>
    public ModelConfig Config { get; }

    /// <summary>Device that holds weights and workspaces.</summary>
    public IBackend Backend { get; }

    /// <summary>Whose cache each layer reads.</summary>
    public KvLayout Layout { get; }

    /// <summary>Workspace sizes.</summary>
    public DecoderLimits Limits { get; }

    /// <summary>How the matrices are held, and what that lost.</summary>
    public WeightFacts Weights { get; }

    /// <summary>Called after each layer with its index and the residual stream; of the last layer only the rows with logits.</summary>
    internal Action<int, Tensor>? LayerFinished { get; set; }

    /// <summary>Takes the weights, fuses q/k/v and gate/up, allocates workspaces.</summary>
    /// <param name="format">How matrices are held; embedding, norms and biases stay as stored.</param>
    /// <param name="cache">Where packed matrices are kept for the next load; null = nowhere.</param>
    /// <remarks>On the CPU unfused stored weights stay where <paramref name="weights"/> holds them: it must outlive the model.</remarks>
    /// <exception cref="CheckpointException">A weight is missing, or its shape or type is not what the architecture needs.</exception>
    public static DecoderModel Load(ModelConfig config, IWeightSource weights, IBackend backend, KvLayout layout, DecoderLimits limits,
        IProgress<LoadProgress>? progress = null, WeightFormat format = WeightFormat.Stored,
        PackedCache? cache = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limits.MaxRows, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(limits.MaxLogitRows);
        CheckLayout(config, layout);
        DecoderWeights needed = DecoderWeights.Of(config);
        long total = 0;
        foreach (WeightSpec spec in needed.All())
            total += WeightLoader.Fetch(weights, spec).ByteLength;
        if (needed.Head is null && WeightLoader.Packs(backend, WeightFacts.HeadFormatOf(format), needed.Embedding.Columns))
            total += WeightLoader.Fetch(weights, needed.Embedding).ByteLength; // read again for the packed head
        using PackedWeights? kept = cache?.Open(backend, format);
        var model = new DecoderModel(config, backend, layout, limits, new WeightLoader(weights, backend, format, kept, total, progress), needed);
        kept?.Save();
        return model;
    }

    /// <summary>Runs all layers; writes K and V of every row into the cache.</summary>
    /// <returns>f32 [input.LogitRows.Length, vocabulary], rows of a buffer that the next call may write from its own first row on.</returns>
    /// <exception cref="ArgumentException">The step does not fit the limits, or names a token or row that does not exist.</exception>
    /// <remarks>Allocates no managed memory, the first call with a new block format or a longer chunk of a cyclic model excepted, and the first with sink positions.</remarks>
    public Tensor Forward(in ForwardInput input)
    {
        LayerStep step = Begin(input);
        bool repeats = input.Repeats && input.Kv.MaxRows == 1 && input.LogitRows.Length == step.Rows && input.FirstLogit == 0;
        if (!repeats || _records is null)
            return Run(step, input.LogitRows.Length, input.FirstLogit, ExitLayer(input), input.LogitKv);
        _records.Run(step);
        return Logits(step.Rows);
    }

    /// <summary>f32 [rows, vocabulary]: the first rows of the logits that <see cref="Forward"/> left behind.</summary>
    public Tensor Logits(int rows) => _work.Logits.RowRange(0, rows);

    /// <summary>i32 [1, <see cref="DecoderLimits.MaxRows"/>] ids of a step on the device: for <see cref="ForwardInput.TokenIdsInPlace"/>, each inside the vocabulary.</summary>
    public Tensor TokenIds => _work.TokenIds;

    /// <summary>All operations of a step whose inputs are on the device.</summary>
    /// <param name="wanted">Rows with logits.</param>
    /// <param name="firstLogit">Where their logits go.</param>
    /// <param name="exit">The layer after which only they go on.</param>
    /// <param name="logitKv">The tables for them alone; null: those of the step.</param>
    private Tensor Run(LayerStep step, int wanted, int firstLogit, int exit, KvBatch? logitKv)
    {
        bool isChunk = step.Rows > 1 && Layout.IsCyclic && step.Kv.Sequences == 1;
        Tensor residual = _work.Residual.RowRange(0, step.Rows), logits = _work.Logits.RowRange(firstLogit, wanted);
        Backend.Embed(_embedding, _work.TokenIds.ColumnRange(0, step.Rows), residual);
        Backend.RmsNorm(residual, _layers[0].InputNorm, Config.RmsNormEpsilon, _work.Normed.RowRange(0, step.Rows));
        for (int l = 0; l < _layers.Length; l++)
        {
            int first = l;
            if (isChunk && Layout.LoopEnd(first) >= 0)
                Repeat(first, l = Layout.LoopEnd(first), residual, step);
            else
                _layers[l].Attention.Project(_work.Normed.RowRange(0, step.Rows), step);
            bool ends = l == exit && wanted == 0;
            if (ends && step.Probe.Wanted == AttentionSums.None)
                return logits;
            Tensor attended = _layers[l].Attention.Attend(step);
            if (ends)
                return logits;
            if (l == exit && wanted < step.Rows)
                step = Pick(wanted, step, logitKv ?? step.Kv, ref attended, ref residual);
            Close(l, attended, residual);
        }

        Backend.MatMul(_work.Normed.RowRange(0, step.Rows), _head, logits);
        return logits;
    }

    /// <summary>
    /// The layer after whose attention only rows with logits go on: the last that owns a cache. Above it attention then needs tables of
    /// those rows, and sums want every row; without the one or with the other it is the last layer.
    /// </summary>
    private int ExitLayer(in ForwardInput input)
    {
        bool early = input.Probe.Wanted == AttentionSums.None && input.SinkPositions.IsEmpty && (input.LogitKv is not null || input.LogitRows.IsEmpty);
        return early ? Layout.LastOwner : _layers.Length - 1;
    }

    /// <summary>From attention's output to the input of the next layer, or of the output head.</summary>
    private void Close(int l, Tensor attended, Tensor residual)
    {
        DecoderLayer layer = _layers[l];
        Tensor projected = _work.Projected.RowRange(0, attended.Rows), normed = _work.Normed.RowRange(0, attended.Rows);
        layer.Attention.Output(attended, projected);
        Backend.AddRmsNorm(projected, residual, layer.PostAttentionNorm, Config.RmsNormEpsilon, normed);
        layer.Mlp.Forward(normed, projected);
        Tensor next = l + 1 < _layers.Length ? _layers[l + 1].InputNorm : _finalNorm;
        Backend.AddRmsNorm(projected, residual, next, Config.RmsNormEpsilon, normed);
        LayerFinished?.Invoke(l, residual);
    }

    /// <summary>Leaves only the rows whose logits are wanted.</summary>
    private LayerStep Pick(int wanted, in LayerStep step, KvBatch kv, ref Tensor attended, ref Tensor residual)
    {
        Tensor rows = _work.LogitRows.ColumnRange(0, wanted), cosSin = _work.PickedCosSin.RowRange(0, wanted);
        Tensor pickedAttended = _work.PickedAttended.RowRange(0, wanted), pickedResidual = _work.PickedResidual.RowRange(0, wanted);
        Backend.Embed(attended, rows, pickedAttended);
        Backend.Embed(residual, rows, pickedResidual);
        Backend.Embed(step.CosSin, rows, cosSin);
        (attended, residual) = (pickedAttended, pickedResidual);
        Tensor? sinkCosSin = null;
        if (step.SinkCosSin is { } allSinkCosSin)
        {
            sinkCosSin = _work.PickedSinkCosSin.RowRange(0, wanted);
            Backend.Embed(allSinkCosSin, rows, sinkCosSin.Value);
        }

        return new LayerStep(wanted, kv, cosSin, sinkCosSin, step.Probe);
    }

    /// <summary>
    /// Runs the layers of a cycle over a chunk until K and V are exact, settled, or all passes are done. Afterwards all stands as after
    /// <see cref="Attention.Project"/> of the last of them: a pass that will be repeated needs no more of that layer than K and V.
    /// </summary>
    private void Repeat(int first, int last, Tensor residual, in LayerStep step)
    {
        PromptLoop loop = _loop!;
        loop.Copy(residual, loop.Begin(step.Rows));
        for (int l = first; l <= last; l++)
            if (Layout.IsReadBelow(l))
                _layers[l].Attention.ClearKv(loop.Zeros(step.Rows), step);

        // n passes make n tokens exact, whatever K and V began as; only a longer chunk may end before its last pass.
        int passes = Layout.PassesOf(step.Rows);
        bool maySettle = step.Rows > passes;
        LayerStep silent = step with { Probe = default };
        for (int pass = 1; ; pass++)
        {
            loop.BeginPass(pass == 1, isWatched: maySettle && pass < passes);
            Pass(first, last, residual, silent);
            if (pass == passes || (maySettle && loop.IsSettled))
                break;
            Restore(loop.Begin(step.Rows), first, residual);
        }

        if (step.Probe.Wanted != AttentionSums.None)
            Report(first, last, residual, step);
    }

    /// <summary>One pass over the layers of a cycle, as far as the projections of the last.</summary>
    private void Pass(int first, int last, Tensor residual, in LayerStep step, bool keepCache = false)
    {
        for (int l = first; l <= last; l++)
        {
            Attention attention = _layers[l].Attention;
            attention.Project(_work.Normed.RowRange(0, step.Rows), step, keepCache);
            if (Layout.IsReadBelow(l))
                _loop!.Observe(l, attention.Projected(step.Rows));
            if (l < last)
                Close(l, attention.Attend(step), residual);
        }
    }

    /// <summary>A pass for the sums alone: which pass is the last shows only in its K and V, when most of its layers have attended.</summary>
    private void Report(int first, int last, Tensor residual, in LayerStep step)
    {
        PromptLoop loop = _loop!;
        loop.Copy(residual, loop.End(step.Rows));
        Restore(loop.Begin(step.Rows), first, residual);
        loop.BeginPass(isFirst: false, isWatched: false);
        Pass(first, last, residual, step, keepCache: true);
        Restore(loop.End(step.Rows), last, residual);
        _layers[last].Attention.Project(_work.Normed.RowRange(0, step.Rows), step, keepCache: true);
    }

    /// <summary>The residual stream as it was, and with it the input of a layer.</summary>
    private void Restore(Tensor saved, int layer, Tensor residual)
    {
        _loop!.Copy(saved, residual);
        Backend.RmsNorm(residual, _layers[layer].InputNorm, Config.RmsNormEpsilon, _work.Normed.RowRange(0, residual.Rows));
    }

    /// <summary>Checks the step and uploads what all layers share.</summary>
    private LayerStep Begin(in ForwardInput input)
    {
        int rows = input.TokenIds.Length;
        _work.CheckFits(rows, input.LogitRows.Length, input.FirstLogit);
        if (Layout.IsCyclic && input.Kv.Sequences > 1 && input.Kv.MaxRows > 1)
            throw new ArgumentException($"{input.Kv.Sequences} sequences with up to {input.Kv.MaxRows} rows; a prompt chunk of a model whose layers read from above runs alone.");
        if (input.Positions.Length != rows)
            throw new ArgumentException($"A step of {rows} tokens has {input.Positions.Length} positions.");
        CheckSinkPositions(input);
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
        if (!input.TokenIdsInPlace)
            Backend.Upload(MemoryMarshal.AsBytes(input.TokenIds), _work.TokenIds.ColumnRange(0, rows));
        if (input.LogitRows.Length > 0 && input.LogitRows.Length < rows)
            Backend.Upload(MemoryMarshal.AsBytes(input.LogitRows), _work.LogitRows.ColumnRange(0, input.LogitRows.Length));
        Tensor cosSin = Rotation(input.Positions, _work.CosSin);
        Tensor? sinkCosSin = null;
        if (!input.SinkPositions.IsEmpty)
        {
            _work.TakeSinks();
            sinkCosSin = Rotation(input.SinkPositions, _work.SinkCosSin);
        }

        return new LayerStep(rows, input.Kv, cosSin, sinkCosSin, input.Probe);
    }

    /// <summary>Uploads the rotation of one position a row.</summary>
    private Tensor Rotation(ReadOnlySpan<int> positions, Tensor to)
    {
        Span<float> cosSin = _cosSin.AsSpan(0, positions.Length * Config.Rope.RotaryDim);
        _rotary.Fill(positions, cosSin);
        to = to.RowRange(0, positions.Length);
        Backend.Upload(MemoryMarshal.AsBytes(cosSin), to);
        return to;
    }

    private static void CheckSinkPositions(in ForwardInput input)
    {
        if (input.SinkPositions.IsEmpty)
            return;
        if (input.SinkPositions.Length != input.Positions.Length)
            throw new ArgumentException($"A step of {input.Positions.Length} tokens has {input.SinkPositions.Length} sink positions.");
        for (int row = 0; row < input.Positions.Length; row++)
        {
            if (input.SinkPositions[row] < 0 || input.SinkPositions[row] > input.Positions[row])
                throw new ArgumentException($"Row {row} meets the sinks at position {input.SinkPositions[row]}; allowed: 0 to its own, {input.Positions[row]}.");
        }
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
            if (layout.SourceLayer[layer] != config.KvSources[layer])
                throw new ArgumentException($"Layer {layer} of the KV layout reads the cache of layer {layout.SourceLayer[layer]}; "
                    + $"the checkpoint says {config.KvSources[layer]}.", nameof(layout));
        }
    }
}

/// <summary>How far loading has come.</summary>
/// <param name="BytesDone">Weight bytes placed so far.</param>
/// <param name="BytesTotal">All weight bytes.</param>
public readonly record struct LoadProgress(long BytesDone, long BytesTotal);
