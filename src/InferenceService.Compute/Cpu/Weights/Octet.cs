using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Eight rows of a matrix side by side: a column is a vector whose lanes are the rows, so that rounding them needs no sums over lanes.</summary>
/// <remarks>
/// Rounding to a <see cref="WeightFormat"/> uses only operations that IEEE 754 fixes, none fused, so the codes are the same on any
/// processor. The words it writes are those of a panel: 32 bytes a step.
/// </remarks>
internal static unsafe class Octet
{
    /// <summary>Rows of an octet.</summary>
    public const int Rows = 8;

    /// <summary>Turns rows into columns.</summary>
    /// <param name="rows">Eight rows of <see cref="WeightLayout.RunColumns"/> floats.</param>
    /// <param name="columns">Where as many columns of eight floats go; <paramref name="count"/> of them, rounded up to eight, are written.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose(float* rows, float* columns, int count)
    {
        const int Stride = WeightLayout.RunColumns;
        for (nint c = 0; c < count; c += 8)
        {
            float* from = rows + c;
            float* to = columns + c * Rows;
            if (Avx.IsSupported)
            {
                Transpose8(from, to);
                continue;
            }

            for (nint i = 0; i < 8; i++, from++, to += Rows)
            {
                Vector256.Create(
                    from[0], from[Stride], from[2 * Stride], from[3 * Stride], from[4 * Stride], from[5 * Stride], from[6 * Stride], from[7 * Stride]).Store(to);
            }
        }
    }

    /// <summary>A mask of the lanes whose magnitude bits are those of a number that can be scaled, neither tiny nor infinite nor NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scalable(Vector256<uint> magnitude) =>
        (Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(BitConverter.SingleToUInt32Bits(SignedBytes.Smallest)))
            & Vector256.LessThan(magnitude, Vector256.Create(0x7F800000u))).AsSingle();

    /// <summary>The scale of lanes that cannot be scaled: 0 for tiny ones, NaN for the others.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Unscalable(Vector256<uint> magnitude) => Vector256.ConditionalSelect(
        Vector256.LessThan(magnitude, Vector256.Create(0x7F800000u)).AsSingle(), Vector256<float>.Zero, Vector256.Create(float.NaN));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose8(float* from, float* to)
    {
        const int Stride = WeightLayout.RunColumns;
        Vector256<float> r0 = Vector256.Load(from), r1 = Vector256.Load(from + Stride);
        Vector256<float> r2 = Vector256.Load(from + 2 * Stride), r3 = Vector256.Load(from + 3 * Stride);
        Vector256<float> r4 = Vector256.Load(from + 4 * Stride), r5 = Vector256.Load(from + 5 * Stride);
        Vector256<float> r6 = Vector256.Load(from + 6 * Stride), r7 = Vector256.Load(from + 7 * Stride);
        Vector256<float> a0 = Avx.UnpackLow(r0, r1), a1 = Avx.UnpackHigh(r0, r1), a2 = Avx.UnpackLow(r2, r3), a3 = Avx.UnpackHigh(r2, r3);
        Vector256<float> a4 = Avx.UnpackLow(r4, r5), a5 = Avx.UnpackHigh(r4, r5), a6 = Avx.UnpackLow(r6, r7), a7 = Avx.UnpackHigh(r6, r7);
        Vector256<float> b0 = Avx.Shuffle(a0, a2, 0x44), b1 = Avx.Shuffle(a0, a2, 0xEE), b2 = Avx.Shuffle(a1, a3, 0x44), b3 = Avx.Shuffle(a1, a3, 0xEE);
        Vector256<float> b4 = Avx.Shuffle(a4, a6, 0x44), b5 = Avx.Shuffle(a4, a6, 0xEE), b6 = Avx.Shuffle(a5, a7, 0x44), b7 = Avx.Shuffle(a5, a7, 0xEE);
        Avx.Permute2x128(b0, b4, 0x20).Store(to);
        Avx.Permute2x128(b1, b5, 0x20).Store(to + Rows);
        Avx.Permute2x128(b2, b6, 0x20).Store(to + 2 * Rows);
        Avx.Permute2x128(b3, b7, 0x20).Store(to + 3 * Rows);
        Avx.Permute2x128(b0, b4, 0x31).Store(to + 4 * Rows);
        Avx.Permute2x128(b1, b5, 0x31).Store(to + 5 * Rows);
        Avx.Permute2x128(b2, b6, 0x31).Store(to + 6 * Rows);
        Avx.Permute2x128(b3, b7, 0x31).Store(to + 7 * Rows);
    }
}
