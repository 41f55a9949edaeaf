namespace InferenceService.Compute.Cpu.Simd;

/// <summary>Bit patterns for converting binary16 with integer arithmetic: .NET 10 has no F16C intrinsic.</summary>
/// <remarks>
/// Widening: shift the magnitude to binary32's place and add the difference of the biases. A subnormal gets the smallest normal
/// exponent, whose value is then subtracted: exact, and no step meets a subnormal binary32, which some processors handle slowly.
/// Narrowing: add half an ulp minus one plus the last kept bit, shift; subnormals are rounded by adding 0.5, whose ulp is theirs.
/// </remarks>
internal static class Half16
{
    public const uint MagnitudeMask = 0x7FFF;
    public const uint FirstNormal = 0x0400;
    public const uint Infinity = 0x7C00;
    public const uint NaN = 0x7E00;

    /// <summary>Difference of the exponent biases, 127 − 15, in binary32's exponent field.</summary>
    public const uint ExponentShift = 112u << 23;

    public const uint OneExponent = 1u << 23;

    /// <summary>2^−14.</summary>
    public const float SmallestNormal = 6.103515625e-05f;

    /// <summary>Binary32 bits of 2^−14.</summary>
    public const uint NormalFloor = 113u << 23;

    /// <summary>Binary32 bits of 65536; values from 65520 up reach infinity by rounding.</summary>
    public const uint OverflowFloor = 143u << 23;
}
