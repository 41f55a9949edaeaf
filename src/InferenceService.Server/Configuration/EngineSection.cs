using System.ComponentModel.DataAnnotations;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Engine</c>: sizes of batch and cache, the same for every model.</summary>
internal sealed record EngineSection
{
    /// <summary>Where the models run; auto takes the GPU where one can be used and says so where none can. Default cpu.</summary>
    [OneOf("cpu", "cuda", "auto")]
    public string Device { get; init; } = "cpu";

    /// <summary>Share of a GPU's whole memory that this process may take; without effect on the CPU. Range 0.01–1, default 0.92.</summary>
    [Range(0.01, 1.0)]
    public double GpuMemoryUtilization { get; init; } = 0.92;

    /// <summary>Bytes of the KV pool, over all models. Range 64 KiB–64 TiB; default a share of the available memory.</summary>
    [Range(65_536L, 1L << 46)]
    public long? KvCacheMemoryBytes { get; init; }

    /// <summary>Most sequences in a batch, stated. Range 1–4096; default 16, on a GPU 128 as far as a step takes so many tokens.</summary>
    [Range(1, 4096)]
    public int? MaxNumSeqs { get; init; }

    /// <summary>Most sequences in a batch in force: as stated, else 16, on a GPU 128 as far as a step takes so many tokens.</summary>
    public int BatchSequences => MaxNumSeqs ?? (OnGpu ? Math.Min(128, MaxNumBatchedTokens ?? 128) : 16);

    /// <summary>Most tokens of a step, stated. Range 1–1,048,576; default 512, on a GPU 2048, and no fewer than the sequences of a batch.</summary>
    [Range(1, 1_048_576)]
    public int? MaxNumBatchedTokens { get; init; }

    /// <summary>Most tokens of a step in force: as stated, else 512, on a GPU 2048, and no fewer than the sequences of a batch.</summary>
    /// <remarks>A running stream waits while a step reads so much of somebody else's prompt; a CPU gains nothing from longer chunks.</remarks>
    public int StepTokens => MaxNumBatchedTokens ?? Math.Max(OnGpu ? 2048 : 512, BatchSequences);

    // Once a device has been opened, it stands in the place of auto.
    private bool OnGpu => Device == "cuda";

    /// <summary>Tokens a KV block. Range 1–1024, default 16; rounded up to a multiple of 32 for a model whose KV cache is int8 or int4.</summary>
    [Range(1, 1024)]
    public int BlockSize { get; init; } = 16;

    /// <summary><see cref="BlockSize"/> in force for a model, whose quantisation groups do not cross blocks.</summary>
    /// <param name="packedBits">Bits of its packed blocks; 0 = none.</param>
    public int BlockSizeFor(int packedBits) =>
        packedBits == 0 ? BlockSize : (BlockSize + KvBlockFormat.PackedGroup - 1) / KvBlockFormat.PackedGroup * KvBlockFormat.PackedGroup;

    /// <summary>Reuse full prompt blocks between requests. Default true.</summary>
    public bool PrefixCaching { get; init; } = true;

    /// <summary>
    /// Between whom those blocks are shared. none: everybody; salt: requests with the same <c>cache_salt</c>; api-key: requests of the same key
    /// (and salt); auto: api-key as soon as several keys are configured, else salt. Default auto.
    /// </summary>
    [OneOf("auto", "none", "salt", "api-key")]
    public string PrefixIsolation { get; init; } = "auto";

    /// <summary>Long prompts are prefilled in chunks between decode steps; cannot be turned off. Default true.</summary>
    public bool ChunkedPrefill { get; init; } = true;

    /// <summary>On a GPU, call a decode step before the tokens of the one before it are read, so that the device does not wait for the host. Default true.</summary>
    public bool AsyncScheduling { get; init; } = true;

    /// <summary>Order of waiting requests. Default fcfs.</summary>
    [OneOf("fcfs", "priority")]
    public string SchedulingPolicy { get; init; } = "fcfs";

    /// <summary>Devices that share one model. Only 1 until more are supported.</summary>
    [Range(1, 1024)]
    public int TensorParallelSize { get; init; } = 1;

    /// <summary>Seed of requests that bring none. Default random.</summary>
    public long? Seed { get; init; }

    /// <summary>A busy engine thread that has not finished a step for so long is reported as not alive. Range 1 s–1 h, default 120 s.</summary>
    [Seconds(1, 3600)]
    public TimeSpan Watchdog { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>A device that refuses even the smallest steps is left alone for so long before it is tried again. Range 0.5–60 s, default 5 s.</summary>
    [Seconds(0.5, 60)]
    public TimeSpan CircuitBreak { get; init; } = TimeSpan.FromSeconds(5);
}

/// <summary>Section <c>Cpu</c>.</summary>
internal sealed record CpuOptions
{
    /// <summary>Threads of the CPU backend. Range 1–1024; default the physical cores this process may use.</summary>
    [Range(1, 1024)]
    public int? Threads { get; init; }

    /// <summary>Instructions that multiply weights rounded at load; avx512 are assembled at start, all others compiled by .NET. Default auto: the fastest.</summary>
    [OneOf("auto", "avx512", "avx-vnni", "avx2", "portable")]
    public string Kernels { get; init; } = "auto";

    /// <summary>
    /// Threads that compute have processors of their own, and HTTP and the runtime the others (Linux): on, off, or auto: where the
    /// processors are this process's own and one model is served. Default auto.
    /// </summary>
    [OneOf("auto", "on", "off")]
    public string KeepApart { get; init; } = "auto";

    /// <summary><see cref="Kernels"/>; null = auto.</summary>
    internal KernelFamily? Family => Kernels switch
    {
        "avx512" => KernelFamily.Avx512,
        "avx-vnni" => KernelFamily.AvxVnni,
        "avx2" => KernelFamily.Avx2,
        "portable" => KernelFamily.Portable,
        _ => null,
    };

    /// <summary>The word for a family.</summary>
    internal static string Word(KernelFamily family) => family switch
    {
        KernelFamily.Avx512 => "avx512",
        KernelFamily.AvxVnni => "avx-vnni",
        KernelFamily.Avx2 => "avx2",
        _ => "portable",
    };
}
