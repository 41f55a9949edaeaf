using System.ComponentModel.DataAnnotations;
using InferenceService.Cuda;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Cuda</c>: the GPU that <see cref="EngineSection.Device"/> asks for; without effect on the CPU.</summary>
internal sealed record CudaSection
{
    /// <summary>The word that keeps compiled kernels in memory only.</summary>
    public const string NoCache = "none";

    /// <summary>Which GPU, in the driver's order. Range 0–255, default 0.</summary>
    [Range(0, 255)]
    public int Device { get; init; }

    /// <summary>Folders searched first for the driver, NVRTC and cuBLASLt. Default none: the system's places.</summary>
    public IReadOnlyList<string> LibraryPath { get; init; } = [];

    /// <summary>Folder of compiled kernels, or none. Default <c>inference-service/cubins</c> in the user's cache folder.</summary>
    public string? CubinCache { get; init; }

    /// <summary>A row's bits never depend on the rest of the batch; slower. Default false.</summary>
    public bool Deterministic { get; init; }

    /// <summary>Decode steps are recorded once per batch size and repeated in one call. Default true.</summary>
    public bool RecordSteps { get; init; } = true;

    /// <summary>Wait after every operation, so that a fault is reported by the one that met it; very slow. Default false.</summary>
    public bool CheckEachVerb { get; init; }

    /// <summary>The backend's own options.</summary>
    public CudaOptions ToOptions(ProcessEnvironment environment) => new()
    {
        Device = Device,
        LibraryPath = LibraryPath,
        CubinCache = CubinCache switch
        {
            null => environment.UserCache is { } cache ? Path.Combine(cache, "inference-service", "cubins") : null,
            NoCache => null,
            _ => CubinCache,
        },
        Deterministic = Deterministic,
        RecordSteps = RecordSteps && !CheckEachVerb,
        CheckEachVerb = CheckEachVerb,
    };
}
