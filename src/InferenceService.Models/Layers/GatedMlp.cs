using InferenceService.Compute;
using InferenceService.Models.Architectures;

namespace InferenceService.Models.Layers;

/// <summary>Gated MLP (SwiGLU, arXiv:2002.05202): down(silu(gate·x) ⊙ up·x), gate and up as one product.</summary>
internal sealed class GatedMlp
{
    private readonly IBackend _backend;
    private readonly Workspace _work;
    private readonly int _width;
    private readonly Weight _gateUp;
    private readonly Tensor? _gateUpBias;
    private readonly Weight _down;
    private readonly Tensor? _downBias;

    /// <summary>Loads the weights of one layer.</summary>
    public GatedMlp(ModelConfig config, LayerWeights weights, WeightLoader loader, IBackend backend, Workspace work)
    {
        _backend = backend;
        _work = work;
        _width = config.IntermediateSize;
        _gateUp = loader.Stack(weights.GateUp);
        _gateUpBias = weights.GateUpBias.IsEmpty ? null : loader.Vector(weights.GateUpBias.AsSpan());
        _down = loader.Matrix(weights.Down);
        _downBias = weights.DownBias is { } downBias ? loader.Vector(downBias) : null;
    }

    /// <summary>Runs the MLP on every row.</summary>
    /// <param name="x">[rows, hidden]; read only.</param>
    /// <param name="output">[rows, hidden]; must not overlap <paramref name="x"/>.</param>
    public void Forward(Tensor x, Tensor output)
    {
        Tensor gateUp = _work.GateUp.RowRange(0, x.Rows), activated = _work.Activated.RowRange(0, x.Rows);
        _backend.MatMul(x, _gateUp, gateUp);
        if (_gateUpBias is { } bias)
            _backend.AddBias(gateUp, bias);
        _backend.SiluMultiply(gateUp.ColumnRange(0, _width), gateUp.ColumnRange(_width, _width), activated);
        _backend.MatMul(activated, _down, output);
        if (_downBias is { } downBias)
            _backend.AddBias(output, downBias);
    }
}
