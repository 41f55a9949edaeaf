namespace InferenceService.Compute.Tests;

/// <summary>The oracle itself meets the contract; what it is compared with there is the dense computation of the cases.</summary>
public sealed class ReferenceBackendTests() : BackendContract(new ReferenceBackend(), Tolerance.F32)
{
}
