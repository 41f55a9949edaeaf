using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounding a group of 32 floats to four bits with one binary16 scale: element ≈ (code − 8) · scale, code in [0, 15].</summary>
/// <remarks>
/// The levels −8 to 7 are lopsided, so the scale's sign is chosen too: the element of largest magnitude falls on the longer side.
/// Several scales are tried; with the codes of each the best scale is Σvq / Σq² and what it explains of Σv² is (Σvq)² / Σq², so the
/// winner is known without computing an error. No fused operations and a fixed order of sums: the same codes on any processor.
/// </remarks>
internal static unsafe class Nibbles
{
    /// <summary>Levels from zero to where the largest element falls: up to 8 nothing is clipped, above it the largest is.</summary>
    private static ReadOnlySpan<float> Reaches => [6.8f, 7.2f, 7.6f, 8f, 8.4f, 8.8f, 9.2f];

    /// <summary>Writes 32 codes and returns the scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Half Round(float* source, byte* codes)
    {
        Vector256<float> v0 = Vector256.Load(source), v1 = Vector256.Load(source + 8), v2 = Vector256.Load(source + 16), v3 = Vector256.Load(source + 24);
        float largest = Extreme(v0, v1, v2, v3);
        if (!(Math.Abs(largest) >= SignedBytes.Smallest && Math.Abs(largest) <= float.MaxValue))
        {
            new Span<byte>(codes, WeightLayout.GroupColumns).Fill(8);
            return Math.Abs(largest) < SignedBytes.Smallest ? Half.Zero : Half.NaN;
        }

        float best = 0, scale = 0;
        foreach (float reach in Reaches)
        {
            Vector256<float> inverse = Vector256.Create(-reach / largest);
            Vector256<float> q0 = Level(v0, inverse), q1 = Level(v1, inverse), q2 = Level(v2, inverse), q3 = Level(v3, inverse);
            float product = Sum((v0 * q0 + v1 * q1) + (v2 * q2 + v3 * q3)), square = Sum((q0 * q0 + q1 * q1) + (q2 * q2 + q3 * q3));
            float explained = product * (product / square); // square ≥ 36: the largest element is never level 0
            if (explained > best)
                (best, scale) = (explained, product / square);
        }

        Half rounded = (Half)scale;
        float back = (float)rounded;
        Vector256<float> final = Vector256.Create(back == 0 ? 0 : 1 / back);
        Store(codes, v0, final);
        Store(codes + 8, v1, final);
        Store(codes + 16, v2, final);
        Store(codes + 24, v3, final);
        return rounded;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Level(Vector256<float> value, Vector256<float> inverse) =>
        Vector256.Min(Vector256.Max(Vector256.Round(value * inverse), Vector256.Create(-8f)), Vector256.Create(7f));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(byte* codes, Vector256<float> value, Vector256<float> inverse)
    {
        Vector256<int> code = Vector256.ConvertToInt32Native(Level(value, inverse)) + Vector256.Create(8);
        Vector128<short> words = Vector128.Narrow(code.GetLower(), code.GetUpper());
        *(ulong*)codes = Vector128.Narrow(words, words).AsUInt64()[0];
    }

    /// <summary>The element of largest magnitude, with its sign; of two, the positive one. NaN counts as the largest.</summary>
    private static float Extreme(Vector256<float> v0, Vector256<float> v1, Vector256<float> v2, Vector256<float> v3)
    {
        // The sign moves to the last bit of the key: magnitude first, then plus before minus.
        Vector256<uint> keys = Vector256.Max(Vector256.Max(Key(v0), Key(v1)), Vector256.Max(Key(v2), Key(v3)));
        Vector128<uint> half = Vector128.Max(keys.GetLower(), keys.GetUpper());
        uint key = Math.Max(Math.Max(half[0], half[1]), Math.Max(half[2], half[3]));
        return BitConverter.UInt32BitsToSingle((key >> 1) | ((key & 1) ^ 1) << 31);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Key(Vector256<float> value) => (value.AsUInt32() << 1) | ((value.AsUInt32() >> 31) ^ Vector256<uint>.One);

    /// <summary>Halves are added until one lane is left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Sum(Vector256<float> lanes)
    {
        Vector128<float> half = lanes.GetLower() + lanes.GetUpper();
        return (half[0] + half[2]) + (half[1] + half[3]);
    }
}
