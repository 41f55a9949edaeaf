using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Machine;

/// <summary>The two ceilings of this machine, measured with the decoder's own threads and vector width.</summary>
/// <param name="BytesPerSecond">Best of several passes over a buffer far larger than the last-level cache.</param>
/// <param name="FlopsPerSecond">Best of several runs of independent fp32 multiply-adds; one multiply-add is two operations.</param>
internal sealed record Roofline(double BytesPerSecond, double FlopsPerSecond)
{
    public static Roofline Measure(CpuBackend backend) => new(Bandwidth.Read(backend), Arithmetic.Peak(backend));
}
