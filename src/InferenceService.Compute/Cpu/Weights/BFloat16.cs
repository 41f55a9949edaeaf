using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounding to bfloat16 with integer operations: the same bits on any processor.</summary>
internal static class BFloat16
{
    /// <summary>To nearest, ties to even, in the low half of every lane; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Round(Vector256<float> value)
    {
        Vector256<uint> bits = value.AsUInt32();
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + ((bits >> 16) & Vector256<uint>.One)) >> 16;
        return Vector256.ConditionalSelect(Vector256.Equals(value, value).AsUInt32(), rounded, (bits >> 16) | Vector256.Create(0x40u));
    }
}
