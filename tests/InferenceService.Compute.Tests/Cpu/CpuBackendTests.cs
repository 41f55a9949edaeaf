using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

[RequiresPath(SimdPath.Avx512)]
public sealed class CpuAvx512OneThreadTests() : BackendContract(new CpuBackend(1, SimdPath.Avx512), Tolerance.F32);

[RequiresPath(SimdPath.Avx512)]
public sealed class CpuAvx512TwoThreadTests() : BackendContract(new CpuBackend(2, SimdPath.Avx512), Tolerance.F32);

[RequiresPath(SimdPath.Avx512)]
public sealed class CpuAvx512ThreeThreadTests() : BackendContract(new CpuBackend(3, SimdPath.Avx512), Tolerance.F32);

[RequiresPath(SimdPath.Avx2)]
public sealed class CpuAvx2OneThreadTests() : BackendContract(new CpuBackend(1, SimdPath.Avx2), Tolerance.F32);

[RequiresPath(SimdPath.Avx2)]
public sealed class CpuAvx2ThreeThreadTests() : BackendContract(new CpuBackend(3, SimdPath.Avx2), Tolerance.F32);

[RequiresPath(SimdPath.Portable)]
public sealed class CpuPortableOneThreadTests() : BackendContract(new CpuBackend(1, SimdPath.Portable), Tolerance.F32);

[RequiresPath(SimdPath.Portable)]
public sealed class CpuPortableTwoThreadTests() : BackendContract(new CpuBackend(2, SimdPath.Portable), Tolerance.F32);

[RequiresPath(SimdPath.Avx512)]
public sealed class CpuAvx512OneThreadInvarianceTests() : BatchInvarianceContract(new CpuBackend(1, SimdPath.Avx512));

[RequiresPath(SimdPath.Avx512)]
public sealed class CpuAvx512ThreeThreadInvarianceTests() : BatchInvarianceContract(new CpuBackend(3, SimdPath.Avx512));

[RequiresPath(SimdPath.Avx2)]
public sealed class CpuAvx2InvarianceTests() : BatchInvarianceContract(new CpuBackend(2, SimdPath.Avx2));

[RequiresPath(SimdPath.Portable)]
public sealed class CpuPortableInvarianceTests() : BatchInvarianceContract(new CpuBackend(2, SimdPath.Portable));
