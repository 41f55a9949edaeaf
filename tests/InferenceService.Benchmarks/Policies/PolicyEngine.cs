using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Benchmarks.Policies;

/// <summary>A model served by one engine under one policy setting, in this process, with a pool of a fixed number of bytes.</summary>
internal sealed class PolicyEngine : IAsyncDisposable
{
    private const int MostSequences = 128;
    private const int MostTokens = 1024;

    private readonly CpuBackend _backend;

    private PolicyEngine(CpuBackend backend, InferenceEngine engine) => (_backend, Engine) = (backend, engine);

    /// <summary>The engine.</summary>
    public InferenceEngine Engine { get; }

    /// <summary>Pool bytes of a sequence of <paramref name="tokens"/> that keeps everything, unpacked.</summary>
    public long FullBytes(int tokens)
    {
        KvBlockFormat format = Format with { PackedBits = 0 };
        return (long)(tokens + format.BlockSize - 1) / format.BlockSize * Engine.Model.Layout.Groups * format.BlockBytes;
    }

    /// <summary>Layout of a block.</summary>
    public KvBlockFormat Format => new(
        Engine.Options.KvType, Engine.Options.BlockSize, Engine.Model.Config.HeadDim, Engine.Model.Layout.LanesPerGroup, Engine.Options.KvPackedBits);

    /// <summary>Loads a model under a setting.</summary>
    /// <param name="model">Weights; they must outlive the engine.</param>
    /// <param name="setting">Policy and packing.</param>
    /// <param name="poolBytes">Bytes of the KV pool.</param>
    /// <param name="kvType">Element type of blocks that are not packed.</param>
    /// <param name="format">How matrices are held.</param>
    public static PolicyEngine Open(PolicyModel model, PolicySetting setting, long poolBytes, DType kvType, WeightFormat format = WeightFormat.Stored)
    {
        var backend = new CpuBackend(Environment.ProcessorCount);
        IKvPolicy policy = setting.Create();
        var options = new EngineOptions
        {
            MaxModelLength = model.Config.MaxPositions,
            MaxNumSeqs = MostSequences,
            MaxBatchTokens = MostTokens,
            BlockSize = KvBlockFormat.PackedGroup,
            KvType = kvType,
            KvPackedBits = setting.PackedBits,
            KvCacheBytes = poolBytes,
            PrefixCaching = false,
            TokenClasses = model.Classes,
            Seed = 1,
        };
        DecoderModel decoder = DecoderModel.Load(
            model.Config, model.Weights, backend, policy.Layout(model.Config), new DecoderLimits(MostTokens, MostSequences + options.PromptChunkTokens),
            format: format);
        return new PolicyEngine(backend, new InferenceEngine(decoder, policy, options, TimeProvider.System));
    }

    /// <summary>Submits one request; a refusal is an error of the benchmark's own settings.</summary>
    public GenerationStream Submit(ReadOnlyMemory<int> prompt, int maxTokens, SamplingParams sampling)
    {
        SubmitResult result = Engine.Submit(new GenerationRequest { PromptTokens = prompt, MaxTokens = maxTokens, Sampling = sampling, IgnoreEos = true });
        return result.Stream ?? throw new InvalidOperationException($"{result.Refusal}: {result.Reason}");
    }

    /// <summary>Reads a stream to its end.</summary>
    public static async Task<List<GeneratedToken>> ReadAsync(GenerationStream stream, CancellationToken cancellation)
    {
        var tokens = new List<GeneratedToken>();
        while (await stream.WaitToReadAsync(cancellation))
        {
            while (stream.TryRead(out GeneratedToken token))
            {
                if (token.Finish == FinishReason.Error)
                    throw new InvalidOperationException(stream.Error);
                if (token.TokenId >= 0)
                    tokens.Add(token);
            }
        }

        return tokens;
    }

    public async ValueTask DisposeAsync()
    {
        await Engine.DisposeAsync();
        _backend.Dispose();
    }
}
