using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>The memory in which a forward pass computes, taken once when a model loads. All f32 unless said otherwise.</summary>
internal sealed class Workspace
{
    private readonly DecoderLimits _limits;
    private readonly IBackend _backend;
    private readonly int _rotaryDim, _queries;
    private bool _hasSinks;

    /// <summary>Takes workspaces for a model of this shape.</summary>
    /// <param name="format">Of the matrices that can be held in it.</param>
    public Workspace(ModelConfig config, DecoderLimits limits, IBackend backend, WeightFormat format)
    {
        (_limits, _backend) = (limits, backend);
        int rows = limits.MaxRows, picked = Math.Min(limits.MaxLogitRows, rows);
        int queries = config.Heads * config.HeadDim, keys = config.KvHeads * config.HeadDim;
        (_rotaryDim, _queries) = (config.Rope.RotaryDim, queries);
        TokenIds = backend.Allocate(DType.I32, 1, rows);
        LogitRows = backend.Allocate(DType.I32, 1, Math.Max(1, picked));
        CosSin = backend.Allocate(DType.F32, rows, config.Rope.RotaryDim);
        Residual = backend.Allocate(DType.F32, rows, config.HiddenSize);
        Normed = Operand(backend, format, rows, config.HiddenSize);
        Projected = backend.Allocate(DType.F32, rows, config.HiddenSize);
        Qkv = backend.Allocate(DType.F32, rows, queries + 2 * keys);
        Attended = backend.Allocate(DType.F32, rows, queries);
        GateUp = backend.Allocate(DType.F32, rows, 2 * config.IntermediateSize);
        Activated = Operand(backend, format, rows, config.IntermediateSize);
        PickedCosSin = backend.Allocate(DType.F32, Math.Max(1, picked), config.Rope.RotaryDim);
        PickedAttended = backend.Allocate(DType.F32, Math.Max(1, picked), queries);
        PickedResidual = backend.Allocate(DType.F32, Math.Max(1, picked), config.HiddenSize);
        Logits = backend.Allocate(DType.F32, Math.Max(1, limits.MaxLogitRows), config.VocabularySize);
    }

    /// <summary>i32 [1, rows].</summary>
    public Tensor TokenIds { get; }

    /// <summary>i32 [1, logit rows].</summary>
    public Tensor LogitRows { get; }

    /// <summary>[rows, rotaryDim].</summary>
    public Tensor CosSin { get; }

    /// <summary>[rows, rotaryDim]: rotation of the queries that meet sinks; after <see cref="TakeSinks"/>.</summary>
    public Tensor SinkCosSin { get; private set; }

    /// <summary>[logit rows, rotaryDim]: rows of <see cref="SinkCosSin"/> whose logits are wanted; after <see cref="TakeSinks"/>.</summary>
    public Tensor PickedSinkCosSin { get; private set; }

    /// <summary>[rows, heads·headDim]: queries that meet sinks; after <see cref="TakeSinks"/>.</summary>
    public Tensor SinkQueries { get; private set; }

    /// <summary>i32 [1, rows]: 0, 1, 2, …; after <see cref="TakeSinks"/>.</summary>
    public Tensor RowNumbers { get; private set; }

    /// <summary>[rows, hidden]: the residual stream.</summary>
    public Tensor Residual { get; }

    /// <summary>[rows, hidden]: input of attention, MLP and head; what their products read (<see cref="IBackend.AllocateOperand"/>).</summary>
    public Tensor Normed { get; }

    /// <summary>[rows, hidden]: output of attention and MLP.</summary>
    public Tensor Projected { get; }

    /// <summary>[rows, (heads + 2·kvHeads)·headDim].</summary>
    public Tensor Qkv { get; }

    /// <summary>[rows, heads·headDim].</summary>
    public Tensor Attended { get; }

    /// <summary>[rows, 2·intermediate].</summary>
    public Tensor GateUp { get; }

    /// <summary>[rows, intermediate]: what the product that leads out of the MLP reads.</summary>
    public Tensor Activated { get; }

    /// <summary>[logit rows, rotaryDim]: rows of <see cref="CosSin"/> whose logits are wanted.</summary>
    public Tensor PickedCosSin { get; }

    /// <summary>[logit rows, heads·headDim]: rows of <see cref="Attended"/> whose logits are wanted.</summary>
    public Tensor PickedAttended { get; }

    /// <summary>[logit rows, hidden]: rows of <see cref="Residual"/> whose logits are wanted.</summary>
    public Tensor PickedResidual { get; }

    /// <summary>[logit rows, vocabulary].</summary>
    public Tensor Logits { get; }

    /// <summary>Takes the memory for queries that meet sinks, when the first step with sinks comes: most models never see one.</summary>
    public void TakeSinks()
    {
        if (_hasSinks)
            return;
        int rows = _limits.MaxRows, picked = Math.Max(1, Math.Min(_limits.MaxLogitRows, rows));
        SinkCosSin = _backend.Allocate(DType.F32, rows, _rotaryDim);
        PickedSinkCosSin = _backend.Allocate(DType.F32, picked, _rotaryDim);
        SinkQueries = _backend.Allocate(DType.F32, rows, _queries);
        RowNumbers = _backend.Allocate(DType.I32, 1, rows);
        var numbers = new int[rows];
        for (int row = 0; row < rows; row++)
            numbers[row] = row;
        _backend.Upload(MemoryMarshal.AsBytes<int>(numbers), RowNumbers);
        _hasSinks = true;
    }

    private static Tensor Operand(IBackend backend, WeightFormat format, int rows, int columns) => WeightLoader.Packs(backend, format, columns)
        ? backend.AllocateOperand(format, rows, columns)
        : backend.Allocate(DType.F32, rows, columns);

    /// <summary>Checks that a step fits.</summary>
    /// <exception cref="ArgumentException">It has no rows, or more than the model was loaded for.</exception>
    public void CheckFits(int rows, int logitRows, int firstLogit)
    {
        if (rows < 1 || rows > _limits.MaxRows)
            throw new ArgumentException($"A step of {rows} rows; allowed: 1 to {_limits.MaxRows}.");
        if (firstLogit < 0 || firstLogit + logitRows > _limits.MaxLogitRows)
            throw new ArgumentException($"Logits from row {firstLogit} to {firstLogit + logitRows}; allowed: 0 to {_limits.MaxLogitRows}.");
        if (logitRows > Math.Min(rows, _limits.MaxLogitRows))
            throw new ArgumentException($"A step with {logitRows} logit rows; allowed: 0 to {Math.Min(rows, _limits.MaxLogitRows)}.");
    }
}
