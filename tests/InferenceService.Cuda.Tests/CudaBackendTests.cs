using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

[RequiresCuda]
public sealed class CudaBackendTests() : BackendContract(CudaUnderTest.Backend(), Tolerance.F32)
{
    /// <summary>How far attention over a cache may be off.</summary>
    internal static Tolerance Allowed(Tolerance tolerance, KvBlockFormat format)
    {
        // On tensor cores a number goes in as two of 8 bits, which leaves 2^-18 of it: of queries and weights, and of what a packed cache holds, whose
        // product of two rests is left out as well. With queries of ±6 the logarithm of a weight moves by 1e-5, and an output is small where values cancel:
        // the worst of tens of thousands of drawn cases is off by ten parts, of packed ones by seven. A rest that is lost costs hundreds.
        int parts = CudaUnderTest.Kernels.Flash(format, 1, rounded: false, few: false) is null ? 0 : format.PackedBits == 0 ? 14 : 18;
        return tolerance.Times((format.PackedBits == 0 ? 2 : 6) + parts);
    }

    private protected override Tolerance AttentionTolerance(Tolerance tolerance, KvBlockFormat format) => Allowed(tolerance, format);
}

[RequiresCuda]
public sealed class CudaDeterministicBackendTests() : BatchInvarianceContract(CudaUnderTest.Backend(options => options with { Deterministic = true }));
