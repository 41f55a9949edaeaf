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
    /// <param name="seen">The keys [From, To) of the tile without [GapFrom, GapTo).</param>
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

/// <summary>The keys of a tile that a row sees, as places in the tile: [From, To) without [GapFrom, GapTo).</summary>
internal readonly struct SeenKeys(int from, int to, int gapFrom, int gapTo)
{
    private readonly bool _all = from <= 0 && to >= PagedAttention.KeyTile && (gapFrom >= PagedAttention.KeyTile || gapTo <= 0 || gapTo <= gapFrom);

    /// <summary>The scores of places [at, at + width), minus infinity where the row does not see.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public V Mask<S, V>(V scores, int at) where S : struct, ISimd<V> where V : struct
    {
        if (_all)
            return scores;
        V nothing = S.Broadcast(float.NegativeInfinity);
        return S.KeepLanes(nothing, gapFrom - at, gapTo - at, S.KeepLanes(scores, from - at, to - at, nothing));
    }
}
