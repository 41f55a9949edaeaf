using System.Runtime.Intrinsics.X86;
using InferenceService.Compute.Cpu.Generated;

namespace InferenceService.Compute.Cpu;

/// <summary>Instructions that multiply packed weights. <see cref="WeightFormat.Int8"/> and <see cref="WeightFormat.Int4"/> have the same bits in all.</summary>
public enum KernelFamily
{
    /// <summary>128-bit vectors through the cross-platform API: any processor that .NET runs on.</summary>
    Portable,

    /// <summary>256-bit vectors: AVX2 and FMA, compiled by .NET.</summary>
    Avx2,

    /// <summary>256-bit vectors with byte dot products: AVX-VNNI, compiled by .NET.</summary>
    AvxVnni,

    /// <summary>512-bit vectors with byte (VNNI) and bfloat16 dot products, assembled at start-up; needs executable memory.</summary>
    Avx512,
}

/// <summary>Facts about <see cref="KernelFamily"/>.</summary>
public static class KernelFamilyExtensions
{
    /// <summary>True when this processor, and this process, can run the family.</summary>
    public static bool IsSupported(this KernelFamily family) => family switch
    {
        KernelFamily.Portable => true,
        KernelFamily.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        KernelFamily.AvxVnni => AvxVnni.IsSupported && Fma.IsSupported,
        KernelFamily.Avx512 => GeneratedKernels.Has(WeightFormat.Int8),
        _ => throw new ArgumentOutOfRangeException(nameof(family), family, "Unknown kernel family."),
    };

    /// <summary>The fastest family that this processor has and whose vectors are no wider than those of <paramref name="path"/>.</summary>
    public static KernelFamily Best(SimdPath path)
    {
        if (path == SimdPath.Portable)
            return KernelFamily.Portable;
        if (path == SimdPath.Avx512 && KernelFamily.Avx512.IsSupported())
            return KernelFamily.Avx512;
        return KernelFamily.AvxVnni.IsSupported() ? KernelFamily.AvxVnni : KernelFamily.Avx2.IsSupported() ? KernelFamily.Avx2 : KernelFamily.Portable;
    }
}
