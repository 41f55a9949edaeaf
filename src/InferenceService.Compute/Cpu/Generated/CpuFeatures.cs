using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>What .NET has no intrinsics for yet, asked of the processor itself.</summary>
/// <remarks>
/// CPUID leaf 7 as in Intel's Software Developer's Manual, volume 2A: sub-leaf 0, ECX bit 11: AVX512_VNNI; sub-leaf 1, EAX bit 5:
/// AVX512_BF16. That .NET supports AVX-512 means that the system saves its registers.
/// </remarks>
internal static class CpuFeatures
{
    /// <summary>vpdpbusd over 512 bits.</summary>
    public static bool HasAvx512Vnni { get; } = Leaf7(0, out _, out int ecx) && (ecx >> 11 & 1) != 0;

    /// <summary>vdpbf16ps over 512 bits.</summary>
    public static bool HasAvx512BF16 { get; } = Leaf7(1, out int eax, out _) && (eax >> 5 & 1) != 0;

    private static bool Leaf7(int subLeaf, out int eax, out int ecx)
    {
        (eax, ecx) = (0, 0);
        if (!SimdPath.Avx512.IsSupported() || X86Base.CpuId(0, 0).Eax < 7 || X86Base.CpuId(7, 0).Eax < subLeaf)
            return false;
        (eax, _, ecx, _) = X86Base.CpuId(7, subLeaf);
        return true;
    }
}
