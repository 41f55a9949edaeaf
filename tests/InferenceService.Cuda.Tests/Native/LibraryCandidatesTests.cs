using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Tests.Native;

public sealed class LibraryCandidatesTests
{
    [Fact]
    public void Configured_folders_come_first_then_the_application_the_loader_the_toolkit_python_and_conda()
    {
        string[] tried = Candidates(NativeLibraries.Nvrtc, ("CUDA_HOME", "/home/cuda"), ("CONDA_PREFIX", "/conda"));
        string[] order =
        [
            "/mine/libnvrtc.so.13", "/mine/libnvrtc.so.12", Path.Combine(AppContext.BaseDirectory, "libnvrtc.so.13"), "libnvrtc.so.13", "libnvrtc.so.12",
            "/home/cuda/lib64/libnvrtc.so.13", "/usr/local/cuda/lib64/libnvrtc.so.13", "/site/nvidia/cu13/lib/libnvrtc.so.13",
            "/site/nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "/conda/lib/libnvrtc.so.13",
        ];
        int[] places = [.. order.Select(path => Array.IndexOf(tried, path))];
        Assert.DoesNotContain(-1, places);
        Assert.Equal(places.Order(), places);
    }

    [Fact]
    public void The_driver_is_never_taken_from_a_toolkit_or_a_wheel() =>
        Assert.Equal(
            ["/mine/libcuda.so.1", Path.Combine(AppContext.BaseDirectory, "libcuda.so.1"), "libcuda.so.1"],
            Candidates(NativeLibraries.Cuda, ("CUDA_HOME", "/home/cuda"), ("CONDA_PREFIX", "/conda")));

    [Fact]
    public void The_wheels_of_cuda_12_have_a_folder_each() =>
        Assert.Contains("/site/nvidia/cublas/lib/libcublasLt.so.12", Candidates(NativeLibraries.CublasLt));

    [Fact]
    public void A_driver_gets_no_library_newer_than_itself()
    {
        Assert.Equal(["libnvrtc.so.13", "libnvrtc.so.12"], LibraryCandidates.Names(NativeLibraries.Nvrtc, newest: 13));
        Assert.Equal(["libnvrtc.so.12"], LibraryCandidates.Names(NativeLibraries.Nvrtc, newest: 12));
        Assert.All(
            LibraryCandidates.Of(NativeLibraries.CublasLt, ["/mine"], _ => null, ["/site"], newest: 12),
            path => Assert.EndsWith("libcublasLt.so.12", path, StringComparison.Ordinal));
        Assert.Equal(["libcuda.so.1"], LibraryCandidates.Names(NativeLibraries.Cuda, newest: 12));
    }

    [Fact]
    public void Only_versioned_names_are_tried() =>
        Assert.All(Candidates(NativeLibraries.CublasLt), path => Assert.Matches(@"\.so\.1[23]$", path));

    private static string[] Candidates(string library, params (string Name, string Value)[] environment) =>
        [.. LibraryCandidates.Of(library, ["/mine"], name => environment.FirstOrDefault(pair => pair.Name == name).Value, ["/site"])];
}
