using System.Runtime.Intrinsics.X86;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting.Devices;

/// <summary>The processor.</summary>
internal sealed class CpuDevice(CpuOptions options) : ModelDevice
{
    /// <inheritdoc/>
    public override string Kind => "cpu";

    /// <inheritdoc/>
    public override string Description
    {
        get
        {
            KernelFamily kernels = options.Family ?? KernelFamilyExtensions.Best(SimdPathExtensions.Best);
            return FormattableString.Invariant($"cpu, {options.Threads ?? UsableCores.Count()} threads, {InstructionSet()}, kernels {CpuOptions.Word(kernels)}");
        }
    }

    /// <inheritdoc/>
    public override DeviceRoom RoomFor(int models) => DeviceRoom.Host(AvailableMemory.Bytes() / models);

    /// <inheritdoc/>
    public override IBackend NewBackend() => new CpuBackend(options.Threads ?? 0, kernels: options.Family);

    /// <inheritdoc/>
    public override void Dispose()
    {
    }

    private static string InstructionSet() => Avx512F.IsSupported ? "AVX-512" : Avx2.IsSupported ? "AVX2" : "portable vectors";
}
