using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu;

/// <summary>Instruction set that the kernels are compiled for. Results are bit-identical within one path, not between paths.</summary>
public enum SimdPath
{
    /// <summary>128-bit vectors through the cross-platform API: any processor that .NET runs on.</summary>
    Portable,

    /// <summary>256-bit vectors with fused multiply-add (AVX2, FMA).</summary>
    Avx2,

    /// <summary>512-bit vectors (AVX-512 F, BW, DQ).</summary>
    Avx512,
}

/// <summary>Facts about <see cref="SimdPath"/>.</summary>
public static class SimdPathExtensions
{
    /// <summary>The widest path that this processor has.</summary>
    public static SimdPath Best => SimdPath.Avx512.IsSupported() ? SimdPath.Avx512 : SimdPath.Avx2.IsSupported() ? SimdPath.Avx2 : SimdPath.Portable;

    /// <summary>True when this processor can run the path.</summary>
    public static bool IsSupported(this SimdPath path) => path switch
    {
        SimdPath.Portable => true,
        SimdPath.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        SimdPath.Avx512 => Avx512F.IsSupported && Avx512BW.IsSupported && Avx512DQ.IsSupported,
        _ => throw new ArgumentOutOfRangeException(nameof(path), path, "Unknown SIMD path."),
    };
}
