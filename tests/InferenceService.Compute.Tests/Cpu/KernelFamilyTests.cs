using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

public sealed class KernelFamilyTests
{
    [Theory]
    [InlineData(SimdPath.Portable)]
    [InlineData(SimdPath.Avx2)]
    [InlineData(SimdPath.Avx512)]
    public void A_narrower_path_takes_no_wider_kernels(SimdPath path)
    {
        KernelFamily best = KernelFamilyExtensions.Best(path);
        Assert.True(best.IsSupported());
        Assert.True(path != SimdPath.Portable || best == KernelFamily.Portable);
        Assert.True(path == SimdPath.Avx512 || best != KernelFamily.Avx512);
    }

    [Fact]
    public void The_family_that_was_asked_for_is_used()
    {
        foreach (KernelFamily family in Enum.GetValues<KernelFamily>())
        {
            if (family.IsSupported())
            {
                using var backend = new CpuBackend(1, null, family);
                Assert.Equal(family, backend.Kernels);
            }
            else
            {
                Assert.Throws<PlatformNotSupportedException>(() => new CpuBackend(1, null, family));
            }
        }
    }
}
