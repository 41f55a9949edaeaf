using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounding a run of floats to signed bytes with one scale.</summary>
/// <remarks>
/// scale = largest magnitude / 127; code = x / scale to the nearest, ties to even, in [−127, 127]. Only operations that IEEE 754
/// fixes, so the bits are the same on any processor. A run of magnitudes below <see cref="Smallest"/> becomes zeros with scale 0; one with
/// a NaN or infinity becomes zeros with scale NaN.
/// </remarks>
internal static unsafe class SignedBytes
{
    /// <summary>Below this a reciprocal would overflow: 2^−100.</summary>
    public const float Smallest = 7.888609e-31f;

    /// <summary>Writes the codes and returns the scale.</summary>
    /// <param name="source"><paramref name="count"/> floats, a multiple of 32.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Round(float* source, int count, sbyte* codes)
    {
        if (Avx512F.IsSupported)
            return RoundWide(source, count, codes);
        // Magnitudes compare as integers do, and a NaN's is above infinity's.
        Vector256<uint> mask = Vector256.Create(0x7FFFFFFFu), a = Vector256<uint>.Zero, b = a, c = a, d = a;
        for (nint i = 0; i < count; i += 32)
        {
            a = Vector256.Max(a, Vector256.Load((uint*)(source + i)) & mask);
            b = Vector256.Max(b, Vector256.Load((uint*)(source + i + 8)) & mask);
            c = Vector256.Max(c, Vector256.Load((uint*)(source + i + 16)) & mask);
            d = Vector256.Max(d, Vector256.Load((uint*)(source + i + 24)) & mask);
        }

        float largest = BitConverter.UInt32BitsToSingle(Largest(Vector256.Max(Vector256.Max(a, b), Vector256.Max(c, d))));
        if (!(largest >= Smallest && largest <= float.MaxValue))
            return Unscalable(largest, count, codes);
        Vector256<float> inverse = Vector256.Create(127f / largest);
        for (nint i = 0; i < count; i += 32)
        {
            Vector256<short> low = Vector256.Narrow(Code(source + i, inverse), Code(source + i + 8, inverse));
            Vector256<short> high = Vector256.Narrow(Code(source + i + 16, inverse), Code(source + i + 24, inverse));
            Vector256.Narrow(low, high).Store(codes + i);
        }

        return largest / 127f;
    }

    /// <summary>The same with wider vectors, whose conversion rounds and whose narrowing keeps the order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float RoundWide(float* source, int count, sbyte* codes)
    {
        Vector512<uint> mask = Vector512.Create(0x7FFFFFFFu), a = Vector512<uint>.Zero, b = a;
        for (nint i = 0; i < count; i += 32)
        {
            a = Avx512F.Max(a, Vector512.Load((uint*)(source + i)) & mask);
            b = Avx512F.Max(b, Vector512.Load((uint*)(source + i + 16)) & mask);
        }

        a = Avx512F.Max(a, b);
        float largest = BitConverter.UInt32BitsToSingle(Largest(Vector256.Max(a.GetLower(), a.GetUpper())));
        if (!(largest >= Smallest && largest <= float.MaxValue))
            return Unscalable(largest, count, codes);
        Vector512<float> inverse = Vector512.Create(127f / largest);
        for (nint i = 0; i < count; i += 32)
        {
            Vector512<int> low = Avx512F.ConvertToVector512Int32(Vector512.Load(source + i) * inverse);
            Vector512<int> high = Avx512F.ConvertToVector512Int32(Vector512.Load(source + i + 16) * inverse);
            Avx512F.ConvertToVector128SByte(low).Store(codes + i);
            Avx512F.ConvertToVector128SByte(high).Store(codes + i + 16);
        }

        return largest / 127f;
    }

    private static float Unscalable(float largest, int count, sbyte* codes)
    {
        new Span<sbyte>(codes, count).Clear();
        return largest < Smallest ? 0 : float.NaN;
    }

    /// <summary>Sum of 32 codes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Sum32(sbyte* codes)
    {
        (Vector256<short> low, Vector256<short> high) = Vector256.Widen(Vector256.Load(codes));
        return Vector256.Sum(low + high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Code(float* source, Vector256<float> inverse) =>
        Vector256.ConvertToInt32Native(Vector256.Round(Vector256.Load(source) * inverse));

    private static uint Largest(Vector256<uint> lanes)
    {
        Vector128<uint> half = Vector128.Max(lanes.GetLower(), lanes.GetUpper());
        return Math.Max(Math.Max(half[0], half[1]), Math.Max(half[2], half[3]));
    }
}
