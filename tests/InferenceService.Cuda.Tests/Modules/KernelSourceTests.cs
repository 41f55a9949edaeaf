using System.Text.RegularExpressions;
using InferenceService.Compute.Tests;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Tests.Modules;

/// <summary>The kernels' texts.</summary>
public sealed partial class KernelSourceTests
{
    [Fact]
    public void Sources_include_nothing_but_their_own_headers()
    {
        foreach (string file in Kernels())
        {
            KernelSource source = KernelSource.Read(Path.GetFileName(file));
            Assert.Contains("prelude.cuh", source.Headers.Select(header => header.Name));
            Assert.All(Include().Matches(source.Text), match => Assert.Contains(match.Groups[1].Value, source.Headers.Select(header => header.Name)));
        }
    }

    internal static string[] Kernels() => Directory.GetFiles(Path.Combine(CudaUnderTest.Root, "src", "InferenceService.Cuda", "Kernels"), "*.cu");

    [GeneratedRegex("#include [\"<](.+)[\">]")]
    private static partial Regex Include();
}

/// <summary>The kernels' second life: device code checked by clang, which needs no toolkit.</summary>
[RequiresClang]
public sealed class KernelSyntaxTests
{
    [ContractFact]
    public void Every_kernel_compiles_to_ptx_without_a_warning_and_without_arrays_in_local_memory()
    {
        foreach (string file in KernelSourceTests.Kernels())
        {
            // A head size that fills tiles, one whose rows need padding, and one whose queries do not stay in registers.
            foreach (string size in File.ReadAllText(file).Contains("#ifndef KV_HEAD_DIM", StringComparison.Ordinal) ? (string[])["128", "80", "256"] : ["0"])
                Compile(file, size);
        }
    }

    private static void Compile(string file, string headDim)
    {
        bool mayKeep = Path.GetFileName(file) == "cache.cu"; // packing blocks, once in a block's life
        string ptx = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.ptx");
        (int code, string output) = CudaUnderTest.Run(
            RequiresClangAttribute.Program!, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "-nocudainc", "-nocudalib", "-std=c++17", "-O3",
            "-Wall", "-Werror", $"-DKV_HEAD_DIM={headDim}", "-S", file, "-o", ptx);
        Assert.True(code == 0, output);
        Assert.True(mayKeep || !File.ReadAllText(ptx).Contains(".local", StringComparison.Ordinal), $"{file} keeps an array in local memory.");
        File.Delete(ptx);
    }
}

/// <summary>What only a GPU can say. Skipped aloud elsewhere.</summary>
[RequiresGpu]
public sealed class GpuTests
{
    [ContractFact]
    public void The_contract_runs_on_a_real_device() => Assert.NotEqual("emulated", CudaUnderTest.Name);
}
