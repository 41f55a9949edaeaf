using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>The innermost part of <see cref="MatMul"/>: up to 6 rows of x against up to 4 rows of the weight, all sums in registers.</summary>
/// <remarks>Long because the JIT keeps accumulators in registers only when each is a variable of its own.</remarks>
internal static unsafe class MatMulTile
{
    /// <summary>Rows of the weight in a tile.</summary>
    public const int Columns = 4;

    /// <summary>Computes a tile of <paramref name="height"/> × <paramref name="width"/> outputs over one run of K.</summary>
    /// <param name="prefetch">Whether to fetch the weight tile at <paramref name="ahead"/> meanwhile.</param>
    /// <param name="x">First row of x; <paramref name="depth"/> floats, a whole number of vectors.</param>
    /// <param name="weight">First row of the weight.</param>
    /// <param name="height">Rows of x, 1 to <see cref="ISimd{V}.TileRows"/>.</param>
    /// <param name="width">Rows of the weight, 1 to <see cref="Columns"/>.</param>
    /// <param name="add">Whether to add to the output instead of overwriting it.</param>
    /// <param name="ahead">The weight tile that comes next.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run<S, V, E>(
        bool prefetch, float* x, long xStride, byte* weight, long weightStride, int depth,
        float* output, long outputStride, int height, int width, bool add, byte* ahead)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        if (prefetch)
            Run<S, V, E, Ahead>(x, xStride, weight, weightStride, depth, output, outputStride, height, width, add, ahead);
        else
            Run<S, V, E, NotAhead>(x, xStride, weight, weightStride, depth, output, outputStride, height, width, add, ahead);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Run<S, V, E, A>(
        float* x, long xStride, byte* weight, long weightStride, int depth,
        float* output, long outputStride, int height, int width, bool add, byte* ahead)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where A : struct, IAhead
    {
        switch (height)
        {
            case 1: Run<S, V, E, A, Rows1>(x, xStride, weight, weightStride, depth, output, outputStride, width, add, ahead); break;
            case 2: Run<S, V, E, A, Rows2>(x, xStride, weight, weightStride, depth, output, outputStride, width, add, ahead); break;
            case 3: Run<S, V, E, A, Rows3>(x, xStride, weight, weightStride, depth, output, outputStride, width, add, ahead); break;
            case 4: Run<S, V, E, A, Rows4>(x, xStride, weight, weightStride, depth, output, outputStride, width, add, ahead); break;
            case 5: Run<S, V, E, A, Rows5>(x, xStride, weight, weightStride, depth, output, outputStride, width, add, ahead); break;
            default: Run<S, V, E, A, Rows6>(x, xStride, weight, weightStride, depth, output, outputStride, width, add, ahead); break;
        }
    }

    /// <remarks>R × 4 accumulators. Nothing is called while they live: a call would push every one of them to the stack in the loop.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<S, V, E, A, R>(
        float* x, long xStride, byte* weight, long weightStride, nint depth, float* output, long outputStride, int width, bool add, byte* ahead)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where A : struct, IAhead where R : struct, IRows
    {
        // Rows that are not there repeat row 0 of their operand; their sums are not stored.
        byte* h0 = ahead, h1 = h0 + weightStride, h2 = h1 + weightStride, h3 = h2 + weightStride;
        byte* w0 = weight, w1 = width > 1 ? weight + weightStride : weight;
        byte* w2 = width > 2 ? weight + 2 * weightStride : weight, w3 = width > 3 ? weight + 3 * weightStride : weight;
        float* x1 = x + xStride, x2 = x + 2 * xStride, x3 = x + 3 * xStride, x4 = x + 4 * xStride, x5 = x + 5 * xStride;
        V a00 = S.Zero, a01 = a00, a02 = a00, a03 = a00;
        V a10 = a00, a11 = a00, a12 = a00, a13 = a00;
        V a20 = a00, a21 = a00, a22 = a00, a23 = a00;
        V a30 = a00, a31 = a00, a32 = a00, a33 = a00;
        V a40 = a00, a41 = a00, a42 = a00, a43 = a00;
        V a50 = a00, a51 = a00, a52 = a00, a53 = a00;
        V v0, v1 = a00, v2 = a00, v3 = a00, v4 = a00, v5 = a00, w;
        for (nint k = 0; k < depth; k += S.Width)
        {
            v0 = S.Load(x + k);
            if (R.Count > 1) v1 = S.Load(x1 + k);
            if (R.Count > 2) v2 = S.Load(x2 + k);
            if (R.Count > 3) v3 = S.Load(x3 + k);
            if (R.Count > 4) v4 = S.Load(x4 + k);
            if (R.Count > 5) v5 = S.Load(x5 + k);

            if (A.On) S.Prefetch(h0 + k * E.Size);
            w = E.Load<S, V>(w0 + k * E.Size);
            a00 = S.MultiplyAdd(v0, w, a00);
            if (R.Count > 1) a10 = S.MultiplyAdd(v1, w, a10);
            if (R.Count > 2) a20 = S.MultiplyAdd(v2, w, a20);
            if (R.Count > 3) a30 = S.MultiplyAdd(v3, w, a30);
            if (R.Count > 4) a40 = S.MultiplyAdd(v4, w, a40);
            if (R.Count > 5) a50 = S.MultiplyAdd(v5, w, a50);

            if (A.On) S.Prefetch(h1 + k * E.Size);
            w = E.Load<S, V>(w1 + k * E.Size);
            a01 = S.MultiplyAdd(v0, w, a01);
            if (R.Count > 1) a11 = S.MultiplyAdd(v1, w, a11);
            if (R.Count > 2) a21 = S.MultiplyAdd(v2, w, a21);
            if (R.Count > 3) a31 = S.MultiplyAdd(v3, w, a31);
            if (R.Count > 4) a41 = S.MultiplyAdd(v4, w, a41);
            if (R.Count > 5) a51 = S.MultiplyAdd(v5, w, a51);

            if (A.On) S.Prefetch(h2 + k * E.Size);
            w = E.Load<S, V>(w2 + k * E.Size);
            a02 = S.MultiplyAdd(v0, w, a02);
            if (R.Count > 1) a12 = S.MultiplyAdd(v1, w, a12);
            if (R.Count > 2) a22 = S.MultiplyAdd(v2, w, a22);
            if (R.Count > 3) a32 = S.MultiplyAdd(v3, w, a32);
            if (R.Count > 4) a42 = S.MultiplyAdd(v4, w, a42);
            if (R.Count > 5) a52 = S.MultiplyAdd(v5, w, a52);

            if (A.On) S.Prefetch(h3 + k * E.Size);
            w = E.Load<S, V>(w3 + k * E.Size);
            a03 = S.MultiplyAdd(v0, w, a03);
            if (R.Count > 1) a13 = S.MultiplyAdd(v1, w, a13);
            if (R.Count > 2) a23 = S.MultiplyAdd(v2, w, a23);
            if (R.Count > 3) a33 = S.MultiplyAdd(v3, w, a33);
            if (R.Count > 4) a43 = S.MultiplyAdd(v4, w, a43);
            if (R.Count > 5) a53 = S.MultiplyAdd(v5, w, a53);
        }

        Put(output, S.Sum4(a00, a01, a02, a03), width, add);
        if (R.Count > 1) Put(output + outputStride, S.Sum4(a10, a11, a12, a13), width, add);
        if (R.Count > 2) Put(output + 2 * outputStride, S.Sum4(a20, a21, a22, a23), width, add);
        if (R.Count > 3) Put(output + 3 * outputStride, S.Sum4(a30, a31, a32, a33), width, add);
        if (R.Count > 4) Put(output + 4 * outputStride, S.Sum4(a40, a41, a42, a43), width, add);
        if (R.Count > 5) Put(output + 5 * outputStride, S.Sum4(a50, a51, a52, a53), width, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(float* output, Vector128<float> sums, int width, bool add)
    {
        if (width == Columns)
        {
            if (add)
                sums = Vector128.Load(output) + sums;
            sums.Store(output);
            return;
        }

        for (int n = 0; n < width; n++)
            output[n] = add ? output[n] + sums.GetElement(n) : sums.GetElement(n);
    }

    /// <summary>A number the JIT knows, so that unused accumulators vanish.</summary>
    private interface IRows
    {
        static abstract int Count { get; }
    }

    private struct Rows1 : IRows { public static int Count => 1; }

    private struct Rows2 : IRows { public static int Count => 2; }

    private struct Rows3 : IRows { public static int Count => 3; }

    private struct Rows4 : IRows { public static int Count => 4; }

    private struct Rows5 : IRows { public static int Count => 5; }

    private struct Rows6 : IRows { public static int Count => 6; }

    private interface IAhead
    {
        static abstract bool On { get; }
    }

    private struct Ahead : IAhead { public static bool On => true; }

    private struct NotAhead : IAhead { public static bool On => false; }
}
