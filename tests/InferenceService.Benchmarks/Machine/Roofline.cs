using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Machine;

/// <summary>The ceilings of this machine, measured with the decoder's own threads and vector width.</summary>
/// <param name="BytesPerSecond">Best of several passes over a buffer far larger than the last-level cache.</param>
/// <param name="FlopsPerSecond">Best of several runs of independent fp32 multiply-adds; one multiply-add is two operations.</param>
/// <param name="ByteOpsPerSecond">The same of products of bytes (VNNI), or 0 where the backend has no generated kernels.</param>
/// <param name="BF16OpsPerSecond">The same of products of bfloat16, or 0.</param>
internal sealed record Roofline(double BytesPerSecond, double FlopsPerSecond, double ByteOpsPerSecond, double BF16OpsPerSecond)
{
    public static Roofline Measure(CpuBackend backend) => new(
        Bandwidth.Read(backend), Arithmetic.Peak(backend), Arithmetic.DotPeak(backend, WeightFormat.Int8), Arithmetic.DotPeak(backend, WeightFormat.BF16));

    /// <summary>The peak of the instructions that multiply a format; fp32's where there are no better ones.</summary>
    public double OpsPerSecond(WeightFormat format) => format switch
    {
        WeightFormat.Stored => FlopsPerSecond,
        WeightFormat.BF16 => Math.Max(BF16OpsPerSecond, FlopsPerSecond),
        _ => Math.Max(ByteOpsPerSecond, FlopsPerSecond),
    };

    /// <summary>The same peak, measured now.</summary>
    public static double OpsPerSecond(CpuBackend backend, WeightFormat format) => Math.Max(Arithmetic.DotPeak(backend, format, 10), Arithmetic.Peak(backend, 10));
}
