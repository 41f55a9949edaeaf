namespace InferenceService.Cuda;

/// <summary>How the CUDA backend is set up.</summary>
public sealed record CudaOptions
{
    /// <summary>Folders searched first for the driver, NVRTC and cuBLASLt.</summary>
    public IReadOnlyList<string> LibraryPath { get; init; } = [];

    /// <summary>Device by number, in the driver's order.</summary>
    public int Device { get; init; }

    /// <summary>Folder of compiled kernels; null = memory only.</summary>
    public string? CubinCache { get; init; }

    /// <summary>Bytes of one arena that small tensors are cut from; one of a sixteenth of it or more gets memory of its own.</summary>
    public long ArenaBytes { get; init; } = 64L << 20;

    /// <summary>Bytes of each of the pinned buffers that uploads and downloads go through.</summary>
    public int StagingBytes { get; init; } = 4 << 20;

    /// <summary>
    /// A row's bits never depend on the other rows of the call: all products come from a kernel of our own instead of cuBLASLt, whose order of
    /// summation changes with the shape, and attention never divides a row's keys between CTAs.
    /// </summary>
    public bool Deterministic { get; init; }

    /// <summary>Steps can be recorded (<see cref="CudaBackend.Record"/>); without it they are called one operation after the other.</summary>
    public bool RecordSteps { get; init; } = true;

    /// <summary>All attention comes from the f32 kernels that the others are compared with: slow, for tests and searching errors.</summary>
    public bool ExactAttention { get; init; }

    /// <summary>
    /// Attention of prompts over caches in bfloat16 rounds queries and softmax weights to bfloat16 too (about three digits) instead of carrying them in
    /// two parts (f32 to a millionth): half the work on tensor cores.
    /// </summary>
    public bool RoundedAttention { get; init; }

    /// <summary>Waits after every verb, so that a fault or a bad table is reported by the verb that met it. For tests and searching errors.</summary>
    public bool CheckEachVerb { get; init; }

    /// <summary>Told, one line each, which libraries were tried and taken.</summary>
    public Action<string>? Log { get; init; }
}
