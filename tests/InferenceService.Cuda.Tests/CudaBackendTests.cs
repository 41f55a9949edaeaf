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
        // product of two rests is left out as well. With queries of ±6 the logarithm of a weight moves by 1e-5. Of two of 11 bits less is lost.
        int parts = CudaUnderTest.Kernels.Flash(format, 1, rounded: false, few: false) is null ? 0 : format.PackedBits == 0 ? 4 : 6;
        return tolerance.Times((format.PackedBits == 0 ? 1 : 3) + parts);
    }

    private protected override Tolerance AttentionTolerance(Tolerance tolerance, KvBlockFormat format) => Allowed(tolerance, format);
}

[RequiresCuda]
public sealed class CudaDeterministicBackendTests() : BatchInvarianceContract(CudaUnderTest.Backend(options => options with { Deterministic = true }));
