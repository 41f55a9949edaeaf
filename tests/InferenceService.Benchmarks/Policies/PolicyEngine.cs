using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Benchmarks.Policies;

/// <summary>A checkpoint served by one engine under one policy setting, in this process, with a pool of a fixed number of bytes.</summary>
internal sealed class PolicyEngine : IAsyncDisposable
{
    private const int MostSequences = 128;

    private readonly CpuBackend _backend;
    private readonly Checkpoint _checkpoint;

    private PolicyEngine(CpuBackend backend, Checkpoint checkpoint, InferenceEngine engine) =>
        (_backend, _checkpoint, Engine) = (backend, checkpoint, engine);

    /// <summary>The engine.</summary>
    public InferenceEngine Engine { get; }

    /// <summary>Pool bytes of a sequence of <paramref name="tokens"/> that keeps everything, unpacked.</summary>
    public long FullBytes(int tokens)
    {
        KvLayout layout = Engine.Model.Layout;
        var format = new KvBlockFormat(Engine.Options.KvType, Engine.Options.BlockSize, Engine.Model.Config.HeadDim, layout.LanesPerGroup);
        return (long)(tokens + format.BlockSize - 1) / format.BlockSize * layout.Groups * format.BlockBytes;
    }

    /// <summary>Loads a checkpoint folder under a setting.</summary>
    /// <param name="folder">Checkpoint.</param>
    /// <param name="setting">Policy and packing.</param>
    /// <param name="poolBytes">Bytes of the KV pool.</param>
    /// <param name="kvType">Element type of blocks that are not packed.</param>
    /// <param name="classes">Token classes of the checkpoint's tokenizer.</param>
    /// <param name="blockSize">Tokens a block.</param>
    public static PolicyEngine Open(string folder, PolicySetting setting, long poolBytes, DType kvType, TokenClasses classes, int blockSize = 32)
    {
        var backend = new CpuBackend(Environment.ProcessorCount);
        Checkpoint checkpoint = Checkpoint.Open(folder);
        IKvPolicy policy = setting.Create();
        KvLayout layout = policy.Layout(checkpoint.Config);
        var options = new EngineOptions
        {
            MaxModelLength = checkpoint.Config.MaxPositions,
            MaxNumSeqs = MostSequences,
            MaxBatchTokens = 1024,
            BlockSize = blockSize,
            KvType = kvType,
            KvPackedBits = setting.PackedBits,
            KvCacheBytes = poolBytes,
            PrefixCaching = false,
            TokenClasses = classes,
            Seed = 1,
        };
        DecoderModel model = DecoderModel.Load(checkpoint.Config, checkpoint, backend, layout, new DecoderLimits(options.MaxBatchTokens, MostSequences));
        return new PolicyEngine(backend, checkpoint, new InferenceEngine(model, policy, options, TimeProvider.System));
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
        _checkpoint.Dispose();
        _backend.Dispose();
    }
}
