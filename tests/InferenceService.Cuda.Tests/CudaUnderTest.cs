using System.Diagnostics;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Tests;

/// <summary>The device that this run uses: the GPU where there is one, else the emulation, which is built on first use.</summary>
internal static class CudaUnderTest
{
    private static readonly Lazy<(CudaDevice Device, KernelSet Kernels)> Opened = new(Open);

    /// <summary>A GPU's driver is running here.</summary>
    public static bool IsReal { get; } = File.Exists("/dev/nvidiactl") || File.Exists("/dev/dxg");

    /// <summary>Why nothing can run here, or null.</summary>
    public static string? Missing => IsReal || (OnPath("g++") && File.Exists(BuildScript)) ? null : "neither a GPU nor g++ with the emulation's sources";

    /// <summary>"emulated" or the GPU's name.</summary>
    public static string Name => Opened.Value.Device.Name;

    public static CudaDevice Device => Opened.Value.Device;

    public static KernelSet Kernels => Opened.Value.Kernels;

    /// <summary>Folder of the stand-ins.</summary>
    public static string EmulationFolder => Path.Combine(Root, "tests", "cuda-emulation", "obj", "default");

    private static string BuildScript => Path.Combine(Root, "tests", "cuda-emulation", "build.sh");

    /// <summary>The repository.</summary>
    public static string Root { get; } = FindRoot();

    public static CudaOptions Options => new()
    {
        LibraryPath = IsReal ? (Environment.GetEnvironmentVariable("CUDA_LIBRARIES") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries) : [EmulationFolder],
        ArenaBytes = 8 << 20,
        StagingBytes = 1 << 16, // small, so that copies come in pieces
        CheckEachVerb = true,
    };

    /// <summary>A backend of its own on the shared device.</summary>
    public static CudaBackend Backend(Func<CudaOptions, CudaOptions>? change = null) => new(Device, Kernels, change is null ? Options : change(Options));

    /// <summary>The program is installed.</summary>
    public static bool OnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));

    /// <summary>Runs a program and returns its exit code and all it said.</summary>
    public static (int Code, string Output) Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start.");
        var errors = new System.Text.StringBuilder();
        process.ErrorDataReceived += (_, line) => errors.AppendLine(line.Data);
        process.BeginErrorReadLine();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors);
    }

    private static (CudaDevice, KernelSet) Open()
    {
        if (!IsReal)
        {
            (int code, string output) = Run(BuildScript);
            if (code != 0)
                throw new InvalidOperationException($"The emulation does not build:\n{output}");
        }

        CudaDevice device = CudaDevice.Open(Options);
        return (device, new KernelSet(device, Options));
    }

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "InferenceService.sln")))
            folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("The tests must run inside the repository.");
    }
}
