using System.Globalization;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>What to load an engine for.</summary>
internal sealed record EngineSettings
{
    /// <summary>How matrices are held.</summary>
    public WeightFormat Format { get; init; }

    /// <summary>Instructions that multiply packed weights; null = the fastest.</summary>
    public KernelFamily? Kernels { get; init; }

    /// <summary>Worker threads.</summary>
    public required int Threads { get; init; }

    /// <summary>Most sequences at once.</summary>
    public required int Sequences { get; init; }

    /// <summary>Most tokens of a sequence.</summary>
    public required int Length { get; init; }

    /// <summary>Element type of the KV cache.</summary>
    public DType KvType { get; init; } = DType.BF16;

    /// <summary>Bits of old keys and values; 0 = as the type.</summary>
    public int KvPackedBits { get; init; }
}

/// <summary>An engine of this process with nothing else beside it: policy full, no prefix caching.</summary>
internal sealed class LoadedEngine : IAsyncDisposable
{
    private readonly CpuBackend _backend;

    private LoadedEngine(CpuBackend backend, TimedBackend timer, InferenceEngine engine) => (_backend, Timer, Engine) = (backend, timer, engine);

    /// <summary>The engine.</summary>
    public InferenceEngine Engine { get; }

    /// <summary>What its steps spent in kernels.</summary>
    public TimedBackend Timer { get; }

    /// <summary>Instructions that multiply packed weights.</summary>
    public KernelFamily Kernels => _backend.Kernels;

    /// <summary>Loads a model.</summary>
    /// <param name="model">Weights; they must outlive the engine.</param>
    public static LoadedEngine Open(BenchmarkModel model, EngineSettings settings)
    {
        ModelConfig config = model.Config;
        var backend = new CpuBackend(settings.Threads, kernels: settings.Kernels);
        var timer = new TimedBackend(backend, config.VocabularySize);
        string bits = settings.KvPackedBits == 0 ? "16" : settings.KvPackedBits.ToString(CultureInfo.InvariantCulture);
        IKvPolicy policy = KvPolicyRegistry.Create("full", new Dictionary<string, string> { ["key_bits"] = bits });
        KvLayout layout = policy.Layout(config);
        int length = settings.Length, slack = 64 + (settings.KvPackedBits == 0 ? 0 : length / 4);
        var options = new EngineOptions
        {
            MaxModelLength = Math.Min(config.MaxPositions, length),
            MaxNumSeqs = settings.Sequences,
            KvType = settings.KvType,
            BlockSize = settings.KvPackedBits == 0 ? 16 : KvBlockFormat.PackedGroup,
            KvPackedBits = settings.KvPackedBits,
            KvCacheBytes = settings.Sequences * (long)(length + slack) * BenchmarkShape.KvBytesPerToken(config, settings.KvType.Size()),
            PrefixCaching = false,
        };
        var limits = new DecoderLimits(options.MaxBatchTokens, options.MaxNumSeqs + (layout.IsCyclic ? options.PromptChunkTokens : 0));
        DecoderModel decoder = DecoderModel.Load(config, model.Weights, timer, layout, limits, format: settings.Format);
        return new LoadedEngine(backend, timer, new InferenceEngine(decoder, policy, options, TimeProvider.System));
    }

    public async ValueTask DisposeAsync()
    {
        await Engine.DisposeAsync();
        _backend.Dispose();
    }
}
