using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>What repeated passes over a prompt chunk need: where they began, zeros to begin with, and how far K and V still move.</summary>
/// <remarks>
/// Layers that read one above them see the K and V that the pass before left there: a fixed-point iteration whose pass p makes the
/// first p tokens of the chunk exact (arXiv:2405.10637, section 3.3). A chunk of more tokens than passes stays an approximation, so
/// it may also end when K and V no longer move; that depends on this chunk alone.
/// </remarks>
internal sealed class PromptLoop
{
    /// <summary>
    /// Relative change below which passes end: for K and V of every token, the largest absolute change over the largest absolute
    /// value. Tokens that matter are settled long before; a trained model reaches it in a few passes.
    /// </summary>
    private const float Settled = 1e-3f;

    private readonly IBackend _backend;
    private readonly int _keyColumns;
    private readonly Tensor _identity;
    private readonly Tensor _zeros;
    private readonly Tensor _begin;
    private readonly Tensor _end;
    private readonly Dictionary<int, float[]> _previous = [];
    private byte[] _staging = [];
    private bool _isFirst;
    private bool _isWatched;
    private float _change;

    /// <summary>Takes memory for chunks of at most <see cref="DecoderLimits.MaxRows"/> tokens.</summary>
    public PromptLoop(ModelConfig config, DecoderLimits limits, IBackend backend)
    {
        _backend = backend;
        _keyColumns = config.KvHeads * config.HeadDim;
        _identity = backend.Allocate(DType.I32, 1, limits.MaxRows);
        backend.Upload(MemoryMarshal.AsBytes<int>([.. Enumerable.Range(0, limits.MaxRows)]), _identity);
        _zeros = backend.Allocate(DType.F32, limits.MaxRows, _keyColumns);
        _begin = backend.Allocate(DType.F32, limits.MaxRows, config.HiddenSize);
        _end = backend.Allocate(DType.F32, limits.MaxRows, config.HiddenSize);
    }

    /// <summary>K and V of no token have moved enough in this pass to make another worth its while; false when nobody watched.</summary>
    public bool IsSettled => _isWatched && _change < Settled;

    /// <summary>[rows, kvHeads·headDim] of zeros; never written.</summary>
    public Tensor Zeros(int rows) => _zeros.RowRange(0, rows);

    /// <summary>[rows, hidden] the residual stream before the first pass.</summary>
    public Tensor Begin(int rows) => _begin.RowRange(0, rows);

    /// <summary>[rows, hidden] the residual stream after the last pass.</summary>
    public Tensor End(int rows) => _end.RowRange(0, rows);

    /// <summary>to = from.</summary>
    public void Copy(Tensor from, Tensor to) => _backend.Embed(from, _identity.ColumnRange(0, from.Rows), to);

    /// <summary>A new pass begins.</summary>
    /// <param name="isFirst">There is none to compare it with.</param>
    /// <param name="isWatched">Somebody will ask whether it changed anything.</param>
    public void BeginPass(bool isFirst, bool isWatched) => (_isFirst, _isWatched, _change) = (isFirst, isWatched, isFirst ? float.PositiveInfinity : 0);

    /// <summary>Compares K and V of a layer with those of the pass before, and remembers them.</summary>
    /// <param name="layer">A layer that others below it read.</param>
    /// <param name="projected">[rows, (heads + 2·kvHeads)·headDim], rows without a hole.</param>
    public void Observe(int layer, Tensor projected)
    {
        if (!_isWatched)
            return;
        int bytes = checked((int)projected.ByteLength), rows = projected.Rows, columns = 2 * _keyColumns;
        if (_staging.Length < bytes)
            _staging = new byte[bytes];
        if (!_previous.TryGetValue(layer, out float[]? previous) || previous.Length < rows * columns)
            _previous[layer] = previous = new float[rows * columns];
        ReadOnlySpan<float> all = MemoryMarshal.Cast<byte, float>(_backend.Read(projected, _staging));
        for (int half = 0; half < 2 * rows; half++)
        {
            int row = half / 2, column = projected.Columns - columns + half % 2 * _keyColumns;
            ReadOnlySpan<float> now = all.Slice(row * projected.Columns + column, _keyColumns);
            Span<float> then = previous.AsSpan(half * _keyColumns, _keyColumns);
            if (!_isFirst)
                _change = Math.Max(_change, RelativeChange(now, then));
            now.CopyTo(then);
        }
    }

    /// <summary>Largest absolute difference over the largest absolute value: maxima, so that no order of summation matters.</summary>
    private static float RelativeChange(ReadOnlySpan<float> now, ReadOnlySpan<float> then)
    {
        float change = 0, size = 0;
        for (int i = 0; i < now.Length; i++)
        {
            change = Math.Max(change, Math.Abs(now[i] - then[i]));
            size = Math.Max(size, Math.Abs(now[i]));
        }

        return change == 0 ? 0 : change / size;
    }
}
