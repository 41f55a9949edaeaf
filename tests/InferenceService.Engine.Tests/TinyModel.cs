using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>A seeded decoder small enough to run thousands of steps.</summary>
internal sealed class TinyModel : IDisposable
{
    public const int Vocabulary = 89;

    private readonly IBackend _backend;

    public TinyModel(
        KvGrouping grouping = KvGrouping.Model, ulong seed = 5, int maxRows = 256, int maxLogitRows = 64, int eos = -1, int[]? kvSources = null, int kvHeads = 2,
        int[]? windows = null, int headDim = 4, int maxPositions = 256, WeightFormat format = WeightFormat.Stored, KernelFamily? kernels = null, SimdPath? path = null,
        IBackend? backend = null)
    {
        _backend = backend ?? new CpuBackend(1, path, kernels); // a given one is taken over
        ModelConfig plain = NewConfig(eos, kvHeads) with { HeadDim = headDim, MaxPositions = maxPositions };
        plain = plain with { Rope = plain.Rope with { RotaryDim = headDim } };
        if (format != WeightFormat.Stored)
            plain = plain with { HiddenSize = 32, IntermediateSize = 64 }; // rows that can be packed, as those of 4 heads of 8
        Config = kvSources is null ? plain : Sharing(plain, kvSources, windows);
        Weights = new RandomWeights(Config, seed, DType.F32);
        Decoder = DecoderModel.Load(Config, Weights, _backend, KvLayout.Of(Config, grouping), new DecoderLimits(maxRows, maxLogitRows), format: format);
    }

    public ModelConfig Config { get; }

    public RandomWeights Weights { get; }

    public DecoderModel Decoder { get; }

    public IBackend Backend => _backend;

    /// <summary>Bytes of a pool that holds <paramref name="tokens"/> tokens.</summary>
    public long PoolBytes(int tokens, int blockSize) => (long)((tokens + blockSize - 1) / blockSize)
        * new KvBlockFormat(DType.F32, blockSize, Config.HeadDim, Decoder.Layout.LanesPerGroup).BlockBytes * Decoder.Layout.Groups;

    public void Dispose()
    {
        _backend.Dispose();
        Weights.Dispose();
    }

    /// <summary>As many layers as sources, each reading the cache of the layer named; three passes over cycles.</summary>
    private static ModelConfig Sharing(ModelConfig config, int[] sources, int[]? windows) => config with
    {
        Architecture = "LCKVLlamaForCausalLM",
        Layers = sources.Length,
        Windows = [.. windows ?? new int[sources.Length]],
        UsesRope = [.. sources.Select(_ => true)],
        KvSources = [.. sources],
        ForwardPasses = 2,
        BackwardPasses = 1,
    };

    private static ModelConfig NewConfig(int eos, int kvHeads) => new()
    {
        Architecture = "LlamaForCausalLM",
        HiddenSize = 16,
        Layers = 2,
        Heads = 4,
        KvHeads = kvHeads,
        HeadDim = 4,
        IntermediateSize = 24,
        VocabularySize = Vocabulary,
        MaxPositions = 256,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10_000, RotaryDim = 4 },
        Windows = [0, 0],
        UsesRope = [true, true],
        EosTokenIds = eos < 0 ? [] : [eos],
    };
}
