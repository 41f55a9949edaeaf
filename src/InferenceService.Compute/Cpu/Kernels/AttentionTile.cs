using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>The two innermost loops of <see cref="PagedAttention"/>: q·K and p·V for a few query lines, all sums in registers.</summary>
/// <remarks>Long because the JIT keeps accumulators in registers only when each is a variable of its own.</remarks>
internal static unsafe class AttentionTile
{
    /// <summary>Vectors across which one pass of either loop goes.</summary>
    public const int Vectors = 4;

    /// <summary>scores[line][key] = Σ_d q[line][d] · keys[d][key], d in order, for 4 vectors of keys.</summary>
    /// <param name="q">One pointer a line.</param>
    /// <param name="keys">Transposed keys; rows <see cref="PagedAttention.KeyTile"/> floats apart.</param>
    /// <param name="scores">Lines <see cref="PagedAttention.KeyTile"/> floats apart.</param>
    /// <param name="lines">Lines, 1 to <see cref="ISimd{V}.TileRows"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scores<S, V>(float** q, float* keys, int headDim, float* scores, int lines) where S : struct, ISimd<V> where V : struct
    {
        switch (lines)
        {
            case 1: Scores<S, V, Count1>(q, keys, headDim, scores); break;
            case 2: Scores<S, V, Count2>(q, keys, headDim, scores); break;
            case 3: Scores<S, V, Count3>(q, keys, headDim, scores); break;
            case 4: Scores<S, V, Count4>(q, keys, headDim, scores); break;
            case 5: Scores<S, V, Count5>(q, keys, headDim, scores); break;
            default: Scores<S, V, Count6>(q, keys, headDim, scores); break;
        }
    }

    /// <summary>o[line][d] = o[line][d] · factor[line] + Σ_j p[line][j] · values[j][d], j in order, for up to 4 vectors of d.</summary>
    /// <param name="p">Lines <see cref="PagedAttention.KeyTile"/> floats apart.</param>
    /// <param name="values">Row 0 of the values.</param>
    /// <param name="count">Rows of the values.</param>
    /// <param name="vectors">Vectors of d, 1 to <see cref="Vectors"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values<S, V, E>(
        float* p, byte* values, nint strideBytes, int count, float* o, nint oStride, float* factor, int lines, int vectors)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        switch (vectors)
        {
            case 1: Values<S, V, E, Count1>(p, values, strideBytes, count, o, oStride, factor, lines); break;
            case 2: Values<S, V, E, Count2>(p, values, strideBytes, count, o, oStride, factor, lines); break;
            case 3: Values<S, V, E, Count3>(p, values, strideBytes, count, o, oStride, factor, lines); break;
            default: Values<S, V, E, Count4>(p, values, strideBytes, count, o, oStride, factor, lines); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Values<S, V, E, C>(float* p, byte* values, nint strideBytes, int count, float* o, nint oStride, float* factor, int lines)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where C : struct, ICount
    {
        switch (lines)
        {
            case 1: Values<S, V, E, C, Count1>(p, values, strideBytes, count, o, oStride, factor); break;
            case 2: Values<S, V, E, C, Count2>(p, values, strideBytes, count, o, oStride, factor); break;
            case 3: Values<S, V, E, C, Count3>(p, values, strideBytes, count, o, oStride, factor); break;
            case 4: Values<S, V, E, C, Count4>(p, values, strideBytes, count, o, oStride, factor); break;
            case 5: Values<S, V, E, C, Count5>(p, values, strideBytes, count, o, oStride, factor); break;
            default: Values<S, V, E, C, Count6>(p, values, strideBytes, count, o, oStride, factor); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores<S, V, R>(float** q, float* keys, int headDim, float* scores)
        where S : struct, ISimd<V> where V : struct where R : struct, ICount
    {
        float* q0 = q[0], q1 = R.Count > 1 ? q[1] : q0, q2 = R.Count > 2 ? q[2] : q0;
        float* q3 = R.Count > 3 ? q[3] : q0, q4 = R.Count > 4 ? q[4] : q0, q5 = R.Count > 5 ? q[5] : q0;
        V zero = S.Zero;
        V a00 = zero, a01 = zero, a02 = zero, a03 = zero;
        V a10 = zero, a11 = zero, a12 = zero, a13 = zero;
        V a20 = zero, a21 = zero, a22 = zero, a23 = zero;
        V a30 = zero, a31 = zero, a32 = zero, a33 = zero;
        V a40 = zero, a41 = zero, a42 = zero, a43 = zero;
        V a50 = zero, a51 = zero, a52 = zero, a53 = zero;
        for (nint d = 0; d < headDim; d++)
        {
            float* row = keys + d * PagedAttention.KeyTile;
            V k0 = S.Load(row), k1 = S.Load(row + S.Width), k2 = S.Load(row + 2 * S.Width), k3 = S.Load(row + 3 * S.Width), x;
            x = S.Broadcast(q0[d]);
            a00 = S.MultiplyAdd(x, k0, a00);
            a01 = S.MultiplyAdd(x, k1, a01);
            a02 = S.MultiplyAdd(x, k2, a02);
            a03 = S.MultiplyAdd(x, k3, a03);

            if (R.Count > 1)
            {
                x = S.Broadcast(q1[d]);
                a10 = S.MultiplyAdd(x, k0, a10);
                a11 = S.MultiplyAdd(x, k1, a11);
                a12 = S.MultiplyAdd(x, k2, a12);
                a13 = S.MultiplyAdd(x, k3, a13);
            }

            if (R.Count > 2)
            {
                x = S.Broadcast(q2[d]);
                a20 = S.MultiplyAdd(x, k0, a20);
                a21 = S.MultiplyAdd(x, k1, a21);
                a22 = S.MultiplyAdd(x, k2, a22);
                a23 = S.MultiplyAdd(x, k3, a23);
            }

            if (R.Count > 3)
            {
                x = S.Broadcast(q3[d]);
                a30 = S.MultiplyAdd(x, k0, a30);
                a31 = S.MultiplyAdd(x, k1, a31);
                a32 = S.MultiplyAdd(x, k2, a32);
                a33 = S.MultiplyAdd(x, k3, a33);
            }

            if (R.Count > 4)
            {
                x = S.Broadcast(q4[d]);
                a40 = S.MultiplyAdd(x, k0, a40);
                a41 = S.MultiplyAdd(x, k1, a41);
                a42 = S.MultiplyAdd(x, k2, a42);
                a43 = S.MultiplyAdd(x, k3, a43);
            }

            if (R.Count > 5)
            {
                x = S.Broadcast(q5[d]);
                a50 = S.MultiplyAdd(x, k0, a50);
                a51 = S.MultiplyAdd(x, k1, a51);
                a52 = S.MultiplyAdd(x, k2, a52);
                a53 = S.MultiplyAdd(x, k3, a53);
            }
        }

        Put<S, V>(scores, a00, a01, a02, a03);
        if (R.Count > 1) Put<S, V>(scores + 1 * PagedAttention.KeyTile, a10, a11, a12, a13);
        if (R.Count > 2) Put<S, V>(scores + 2 * PagedAttention.KeyTile, a20, a21, a22, a23);
        if (R.Count > 3) Put<S, V>(scores + 3 * PagedAttention.KeyTile, a30, a31, a32, a33);
        if (R.Count > 4) Put<S, V>(scores + 4 * PagedAttention.KeyTile, a40, a41, a42, a43);
        if (R.Count > 5) Put<S, V>(scores + 5 * PagedAttention.KeyTile, a50, a51, a52, a53);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<S, V>(float* target, V a, V b, V c, V d) where S : struct, ISimd<V> where V : struct
    {
        S.Store(target, a);
        S.Store(target + S.Width, b);
        S.Store(target + 2 * S.Width, c);
        S.Store(target + 3 * S.Width, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values<S, V, E, C, R>(float* p, byte* values, nint strideBytes, int count, float* o, nint oStride, float* factor)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where C : struct, ICount where R : struct, ICount
    {
        V zero = S.Zero, x;
        V a00 = zero, a01 = zero, a02 = zero, a03 = zero;
        V a10 = zero, a11 = zero, a12 = zero, a13 = zero;
        V a20 = zero, a21 = zero, a22 = zero, a23 = zero;
        V a30 = zero, a31 = zero, a32 = zero, a33 = zero;
        V a40 = zero, a41 = zero, a42 = zero, a43 = zero;
        V a50 = zero, a51 = zero, a52 = zero, a53 = zero;
        x = S.Broadcast(factor[0]);
        a00 = S.Multiply(S.Load(o), x);
        if (C.Count > 1) a01 = S.Multiply(S.Load(o + S.Width), x);
        if (C.Count > 2) a02 = S.Multiply(S.Load(o + 2 * S.Width), x);
        if (C.Count > 3) a03 = S.Multiply(S.Load(o + 3 * S.Width), x);

        if (R.Count > 1)
        {
            x = S.Broadcast(factor[1]);
            a10 = S.Multiply(S.Load(o + oStride), x);
            if (C.Count > 1) a11 = S.Multiply(S.Load(o + oStride + S.Width), x);
            if (C.Count > 2) a12 = S.Multiply(S.Load(o + oStride + 2 * S.Width), x);
            if (C.Count > 3) a13 = S.Multiply(S.Load(o + oStride + 3 * S.Width), x);
        }

        if (R.Count > 2)
        {
            x = S.Broadcast(factor[2]);
            a20 = S.Multiply(S.Load(o + 2 * oStride), x);
            if (C.Count > 1) a21 = S.Multiply(S.Load(o + 2 * oStride + S.Width), x);
            if (C.Count > 2) a22 = S.Multiply(S.Load(o + 2 * oStride + 2 * S.Width), x);
            if (C.Count > 3) a23 = S.Multiply(S.Load(o + 2 * oStride + 3 * S.Width), x);
        }

        if (R.Count > 3)
        {
            x = S.Broadcast(factor[3]);
            a30 = S.Multiply(S.Load(o + 3 * oStride), x);
            if (C.Count > 1) a31 = S.Multiply(S.Load(o + 3 * oStride + S.Width), x);
            if (C.Count > 2) a32 = S.Multiply(S.Load(o + 3 * oStride + 2 * S.Width), x);
            if (C.Count > 3) a33 = S.Multiply(S.Load(o + 3 * oStride + 3 * S.Width), x);
        }

        if (R.Count > 4)
        {
            x = S.Broadcast(factor[4]);
            a40 = S.Multiply(S.Load(o + 4 * oStride), x);
            if (C.Count > 1) a41 = S.Multiply(S.Load(o + 4 * oStride + S.Width), x);
            if (C.Count > 2) a42 = S.Multiply(S.Load(o + 4 * oStride + 2 * S.Width), x);
            if (C.Count > 3) a43 = S.Multiply(S.Load(o + 4 * oStride + 3 * S.Width), x);
        }

        if (R.Count > 5)
        {
            x = S.Broadcast(factor[5]);
            a50 = S.Multiply(S.Load(o + 5 * oStride), x);
            if (C.Count > 1) a51 = S.Multiply(S.Load(o + 5 * oStride + S.Width), x);
            if (C.Count > 2) a52 = S.Multiply(S.Load(o + 5 * oStride + 2 * S.Width), x);
            if (C.Count > 3) a53 = S.Multiply(S.Load(o + 5 * oStride + 3 * S.Width), x);
        }

        for (nint j = 0; j < count; j++, values += strideBytes)
        {
            V v0 = E.Load<S, V>(values), v1 = zero, v2 = zero, v3 = zero;
            if (C.Count > 1) v1 = E.Load<S, V>(values + S.Width * E.Size);
            if (C.Count > 2) v2 = E.Load<S, V>(values + 2 * S.Width * E.Size);
            if (C.Count > 3) v3 = E.Load<S, V>(values + 3 * S.Width * E.Size);
            x = S.Broadcast(p[j]);
            a00 = S.MultiplyAdd(x, v0, a00);
            if (C.Count > 1) a01 = S.MultiplyAdd(x, v1, a01);
            if (C.Count > 2) a02 = S.MultiplyAdd(x, v2, a02);
            if (C.Count > 3) a03 = S.MultiplyAdd(x, v3, a03);

            if (R.Count > 1)
            {
                x = S.Broadcast(p[PagedAttention.KeyTile + j]);
                a10 = S.MultiplyAdd(x, v0, a10);
                if (C.Count > 1) a11 = S.MultiplyAdd(x, v1, a11);
                if (C.Count > 2) a12 = S.MultiplyAdd(x, v2, a12);
                if (C.Count > 3) a13 = S.MultiplyAdd(x, v3, a13);
            }

            if (R.Count > 2)
            {
                x = S.Broadcast(p[2 * PagedAttention.KeyTile + j]);
                a20 = S.MultiplyAdd(x, v0, a20);
                if (C.Count > 1) a21 = S.MultiplyAdd(x, v1, a21);
                if (C.Count > 2) a22 = S.MultiplyAdd(x, v2, a22);
                if (C.Count > 3) a23 = S.MultiplyAdd(x, v3, a23);
            }

            if (R.Count > 3)
            {
                x = S.Broadcast(p[3 * PagedAttention.KeyTile + j]);
                a30 = S.MultiplyAdd(x, v0, a30);
                if (C.Count > 1) a31 = S.MultiplyAdd(x, v1, a31);
                if (C.Count > 2) a32 = S.MultiplyAdd(x, v2, a32);
                if (C.Count > 3) a33 = S.MultiplyAdd(x, v3, a33);
            }

            if (R.Count > 4)
            {
                x = S.Broadcast(p[4 * PagedAttention.KeyTile + j]);
                a40 = S.MultiplyAdd(x, v0, a40);
                if (C.Count > 1) a41 = S.MultiplyAdd(x, v1, a41);
                if (C.Count > 2) a42 = S.MultiplyAdd(x, v2, a42);
                if (C.Count > 3) a43 = S.MultiplyAdd(x, v3, a43);
            }

            if (R.Count > 5)
            {
                x = S.Broadcast(p[5 * PagedAttention.KeyTile + j]);
                a50 = S.MultiplyAdd(x, v0, a50);
                if (C.Count > 1) a51 = S.MultiplyAdd(x, v1, a51);
                if (C.Count > 2) a52 = S.MultiplyAdd(x, v2, a52);
                if (C.Count > 3) a53 = S.MultiplyAdd(x, v3, a53);
            }
        }

        S.Store(o, a00);
        if (C.Count > 1) S.Store(o + S.Width, a01);
        if (C.Count > 2) S.Store(o + 2 * S.Width, a02);
        if (C.Count > 3) S.Store(o + 3 * S.Width, a03);
        if (R.Count > 1) S.Store(o + oStride, a10);
        if (R.Count > 1 && C.Count > 1) S.Store(o + oStride + S.Width, a11);
        if (R.Count > 1 && C.Count > 2) S.Store(o + oStride + 2 * S.Width, a12);
        if (R.Count > 1 && C.Count > 3) S.Store(o + oStride + 3 * S.Width, a13);
        if (R.Count > 2) S.Store(o + 2 * oStride, a20);
        if (R.Count > 2 && C.Count > 1) S.Store(o + 2 * oStride + S.Width, a21);
        if (R.Count > 2 && C.Count > 2) S.Store(o + 2 * oStride + 2 * S.Width, a22);
        if (R.Count > 2 && C.Count > 3) S.Store(o + 2 * oStride + 3 * S.Width, a23);
        if (R.Count > 3) S.Store(o + 3 * oStride, a30);
        if (R.Count > 3 && C.Count > 1) S.Store(o + 3 * oStride + S.Width, a31);
        if (R.Count > 3 && C.Count > 2) S.Store(o + 3 * oStride + 2 * S.Width, a32);
        if (R.Count > 3 && C.Count > 3) S.Store(o + 3 * oStride + 3 * S.Width, a33);
        if (R.Count > 4) S.Store(o + 4 * oStride, a40);
        if (R.Count > 4 && C.Count > 1) S.Store(o + 4 * oStride + S.Width, a41);
        if (R.Count > 4 && C.Count > 2) S.Store(o + 4 * oStride + 2 * S.Width, a42);
        if (R.Count > 4 && C.Count > 3) S.Store(o + 4 * oStride + 3 * S.Width, a43);
        if (R.Count > 5) S.Store(o + 5 * oStride, a50);
        if (R.Count > 5 && C.Count > 1) S.Store(o + 5 * oStride + S.Width, a51);
        if (R.Count > 5 && C.Count > 2) S.Store(o + 5 * oStride + 2 * S.Width, a52);
        if (R.Count > 5 && C.Count > 3) S.Store(o + 5 * oStride + 3 * S.Width, a53);
    }

    /// <summary>A number the JIT knows, so that unused accumulators vanish.</summary>
    private interface ICount
    {
        static abstract int Count { get; }
    }

    private struct Count1 : ICount { public static int Count => 1; }

    private struct Count2 : ICount { public static int Count => 2; }

    private struct Count3 : ICount { public static int Count => 3; }

    private struct Count4 : ICount { public static int Count => 4; }

    private struct Count5 : ICount { public static int Count => 5; }

    private struct Count6 : ICount { public static int Count => 6; }
}
