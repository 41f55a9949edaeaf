using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>A GPU, or g++ to build the emulation with.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class RequiresCudaAttribute : RequirementAttribute
{
    public override string? Missing => CudaUnderTest.Missing;
}

/// <summary>The emulation: the tests inject errors or look at what only a stand-in shows.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class RequiresEmulationAttribute : RequirementAttribute
{
    public override string? Missing => CudaUnderTest.IsReal ? "a GPU is here, and the test needs the emulation" : CudaUnderTest.Missing;
}

/// <summary>A GPU. Its absence is said aloud, so that nobody takes an emulated run for a real one.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class RequiresGpuAttribute : RequirementAttribute
{
    public override string? Missing => CudaUnderTest.IsReal ? null : "no GPU here: all other tests of this project ran on the emulated device";
}

/// <summary>clang, to check the kernels' device code without a toolkit.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class RequiresClangAttribute : RequirementAttribute
{
    public static string? Program { get; } = new[] { "clang-14", "clang-19", "clang" }.FirstOrDefault(CudaUnderTest.OnPath);

    public override string? Missing => Program is null ? "no clang to check the kernels' device code with" : null;
}
