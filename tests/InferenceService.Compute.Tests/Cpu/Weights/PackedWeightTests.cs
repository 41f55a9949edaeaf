using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu.Weights;

[RequiresKernels(KernelFamily.Portable)]
public sealed class PortablePackedWeightTests() : PackedWeightContract(new CpuBackend(2, null, KernelFamily.Portable), exactBF16: true);

[RequiresKernels(KernelFamily.Avx2)]
public sealed class Avx2PackedWeightTests() : PackedWeightContract(new CpuBackend(1, null, KernelFamily.Avx2), exactBF16: true);

[RequiresKernels(KernelFamily.AvxVnni)]
public sealed class AvxVnniPackedWeightTests() : PackedWeightContract(new CpuBackend(3, null, KernelFamily.AvxVnni), exactBF16: true);

[RequiresKernels(KernelFamily.Avx512)]
public sealed class Avx512PackedWeightTests() : PackedWeightContract(new CpuBackend(1, null, KernelFamily.Avx512), exactBF16: false);

[RequiresKernels(KernelFamily.Avx512)]
public sealed class Avx512ThreeThreadPackedWeightTests() : PackedWeightContract(new CpuBackend(3, null, KernelFamily.Avx512), exactBF16: false);
