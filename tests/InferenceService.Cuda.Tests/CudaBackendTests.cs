using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

[RequiresCuda]
public sealed class CudaBackendTests() : BackendContract(CudaUnderTest.Backend(), Tolerance.F32);

[RequiresCuda]
public sealed class CudaDeterministicBackendTests() : BatchInvarianceContract(CudaUnderTest.Backend(options => options with { Deterministic = true }));
