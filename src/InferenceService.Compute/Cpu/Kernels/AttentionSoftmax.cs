using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Softmax over keys that arrive tile by tile (Milakov and Gimelshein, arXiv:1805.02867).</summary>
internal static unsafe class AttentionSoftmax
{
    /// <summary>Where a running maximum starts: below every score, yet finite, so that differences of maxima are never NaN.</summary>
    public const float NoKeyYet = -1e30f;

    /// <summary>Turns one line's products into weights, in place, relative to the running maximum.</summary>
    /// <param name="scores">q·k of a tile; on return exp(scale·q·k − maximum), 0 for what the row does not see.</param>
    /// <param name="seen">The keys of the tile that the row sees.</param>
    /// <param name="maximum">Running maximum.</param>
    /// <param name="sum">Running sum of weights relative to it.</param>
    /// <returns>What earlier sums must be multiplied by, since the maximum may have grown.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Update<S, V>(float* scores, in SeenKeys seen, float scale, ref float maximum, ref float sum)
        where S : struct, ISimd<V> where V : struct
    {
        V factor = S.Broadcast(scale), top = S.Broadcast(NoKeyYet);
        for (int i = 0; i < PagedAttention.KeyTile; i += S.Width)
        {
            V score = seen.Mask<S, V>(S.Multiply(S.Load(scores + i), factor), i);
            S.Store(scores + i, score);
            top = S.Max(top, score);
        }

        float tileTop = S.MaxLane(top), rescale = 1f;
        if (tileTop > maximum)
        {
            rescale = Scalar<S, V>(maximum - tileTop);
            maximum = tileTop;
        }

        V shift = S.Broadcast(maximum), total = S.Zero;
        for (int i = 0; i < PagedAttention.KeyTile; i += S.Width)
        {
            V weight = Exponential.Exp<S, V>(S.Subtract(S.Load(scores + i), shift));
            S.Store(scores + i, weight);
            total = S.Add(total, weight);
        }

        sum = sum * rescale + S.Sum(total);
        return rescale;
    }

    /// <summary>The part of a tile's weights that lies on places [0, <paramref name="before"/>) or [<paramref name="after"/>, ∞).</summary>
    /// <remarks>Added in the order of <see cref="Update"/>, so that rounding never makes a part larger than the whole.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Mass<S, V>(float* weights, int before, int after) where S : struct, ISimd<V> where V : struct
    {
        V total = S.Zero;
        for (int i = 0; i < PagedAttention.KeyTile; i += S.Width)
        {
            V weight = S.Load(weights + i);
            total = S.Add(total, S.KeepLanes(weight, after - i, S.Width, S.KeepLanes(weight, 0, before - i, S.Zero)));
        }

        return S.Sum(total);
    }

    /// <summary>Turns one line's products into final weights, given its final maximum and sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Finish<S, V>(float* scores, in SeenKeys seen, float scale, float maximum, float sum) where S : struct, ISimd<V> where V : struct
    {
        V factor = S.Broadcast(scale), shift = S.Broadcast(maximum), divisor = S.Broadcast(sum);
        for (int i = 0; i < PagedAttention.KeyTile; i += S.Width)
        {
            V score = seen.Mask<S, V>(S.Multiply(S.Load(scores + i), factor), i);
            S.Store(scores + i, S.Divide(Exponential.Exp<S, V>(S.Subtract(score, shift)), divisor));
        }
    }

    /// <summary>e^x by the same arithmetic as the vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Scalar<S, V>(float x) where S : struct, ISimd<V> where V : struct => S.MaxLane(Exponential.Exp<S, V>(S.Broadcast(x)));
}

/// <summary>The keys of a tile that a row sees, as places in the tile: [from, to) without the lane's gap and without the row's own hole.</summary>
internal readonly struct SeenKeys
{
    private readonly int _from, _to, _gapFrom, _gapTo, _holeFrom, _holeTo;
    private readonly bool _all, _hole;

    /// <summary>What row <paramref name="row"/> of a sequence sees of the tile at <paramref name="tile"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public SeenKeys(in PagedAttention.Job job, in KvLane lane, int row, int tile)
    {
        (_from, _to) = (job.SeenFrom(lane, row) - tile, job.SeenTo(lane, row) - tile);
        (_gapFrom, _gapTo) = (lane.GapStart - tile, lane.GapEnd - tile);
        (_holeFrom, _holeTo) = (lane.Sinks - tile, PagedAttention.Job.RecentFrom(lane, row) - tile);
        _hole = Cuts(_holeFrom, _holeTo);
        _all = _from <= 0 && _to >= PagedAttention.KeyTile && !_hole && !Cuts(_gapFrom, _gapTo);
    }

    /// <summary>The scores of places [at, at + width), minus infinity where the row does not see.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public V Mask<S, V>(V scores, int at) where S : struct, ISimd<V> where V : struct
    {
        if (_all)
            return scores;
        V nothing = S.Broadcast(float.NegativeInfinity);
        scores = S.KeepLanes(nothing, _gapFrom - at, _gapTo - at, S.KeepLanes(scores, _from - at, _to - at, nothing));
        return _hole ? S.KeepLanes(nothing, _holeFrom - at, _holeTo - at, scores) : scores;
    }

    private static bool Cuts(int from, int to) => from < PagedAttention.KeyTile && to > 0 && to > from;
}
