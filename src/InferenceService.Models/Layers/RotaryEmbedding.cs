namespace InferenceService.Models.Layers;

/// <summary>Cosines and sines of a step's positions, computed on the host in f64 once a step and shared by all layers.</summary>
/// <remarks>Engine thread only. Allocates nothing after construction.</remarks>
internal sealed class RotaryEmbedding
{
    private readonly RopeConfig _config;
    private readonly double[] _frequencies;
    private readonly double[] _stretched;
    private readonly float _factor;
    private readonly int _dynamicFrom;

    /// <summary>Prepares the frequencies of a model.</summary>
    /// <param name="config">Rotary embedding of the model.</param>
    /// <param name="maxPositions">Longest sequence that will be served; see <see cref="RotaryFrequencies.LongRope"/>.</param>
    public RotaryEmbedding(RopeConfig config, int maxPositions)
    {
        _config = config;
        _frequencies = RotaryFrequencies.Of(config, maxPositions);
        _stretched = new double[_frequencies.Length];
        _factor = (float)RotaryFrequencies.AttentionFactor(config);
        _dynamicFrom = config.Scaling is { Kind: RopeScaling.Dynamic, OriginalMaxPositions: { } original } ? original : int.MaxValue;
    }

    /// <summary>Fills one row a position: first half cosines, second half sines, the attention factor already in them.</summary>
    /// <remarks>
    /// Deviation: under dynamic NTK scaling (the <c>dynamic</c> kind) the reference implementation takes the base of the whole
    /// current length for every token of a call, so that K depends on how a prompt was cut into chunks. Here position p takes the
    /// original base while p lies inside the original context and the base of length p + 1 beyond it. This equals what decoding
    /// token by token gives with rotated keys in the cache, and a chunk, a prefix hit and a recomputation all agree.
    /// </remarks>
    /// <param name="positions">[rows].</param>
    /// <param name="cosSin">[rows · rotaryDim].</param>
    public void Fill(ReadOnlySpan<int> positions, Span<float> cosSin)
    {
        int half = _frequencies.Length;
        for (int row = 0; row < positions.Length; row++)
        {
            int position = positions[row];
            Span<float> cosines = cosSin.Slice(2 * half * row, half), sines = cosSin.Slice(2 * half * row + half, half);
            double[] frequencies = _frequencies;
            if (position >= _dynamicFrom)
            {
                RotaryFrequencies.Dynamic(_config, position + 1, _stretched);
                frequencies = _stretched;
            }

            for (int i = 0; i < half; i++)
            {
                (double sine, double cosine) = Math.SinCos(position * frequencies[i]);
                cosines[i] = (float)(_factor * cosine);
                sines[i] = (float)(_factor * sine);
            }
        }
    }
}
