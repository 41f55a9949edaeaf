using InferenceService.Models;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>Shapes of usual models for timings; on the emulation, whose times mean nothing, one tiny model stands for all.</summary>
internal static class BundleShapes
{
    /// <summary>Names and shapes: TinyLlama 1.1B, Llama 2 7B, Llama 3 8B.</summary>
    public static (string Name, ModelConfig Config)[] All { get; } = CudaUnderTest.IsReal
        ? [("1.1B", Llama(22, 2048, 32, 4, 64, 5632, 32_000)), ("7B", Llama(32, 4096, 32, 32, 128, 11_008, 32_000)), ("8B", Llama(32, 4096, 32, 8, 128, 14_336, 128_256))]
        : [("tiny", Llama(4, 128, 2, 1, 64, 192, 300))];

    /// <summary>The 7B shape, without grouped queries: its cache is the largest against its weights.</summary>
    public static (string Name, ModelConfig Config) Seven => All[CudaUnderTest.IsReal ? 1 : 0];

    /// <summary>A shape whose middle layers all read the cache of the last of them, as LCKV with two warm-up layers (arXiv:2405.10637, sandwich-top).</summary>
    public static ModelConfig Condensed(ModelConfig config) => config with
    {
        Architecture = "LCKVLlamaForCausalLM",
        KvSources = [.. Enumerable.Range(0, config.Layers).Select(layer => layer == 0 ? 0 : Math.Max(layer, config.Layers - 2))],
        ForwardPasses = 7,
        BackwardPasses = 2,
    };

    /// <summary>For a whole model: nothing waits for a verb, and buffers beside weights and cache stay small.</summary>
    public static CudaBackend Backend() => CudaUnderTest.Backend(
        options => options with { CheckEachVerb = false, StagingBytes = 4 << 20, ArenaBytes = CudaUnderTest.IsReal ? 64L << 20 : 8 << 20 });

    private static ModelConfig Llama(int layers, int hidden, int heads, int kvHeads, int headDim, int intermediate, int vocabulary) => new()
    {
        Architecture = "LlamaForCausalLM",
        HiddenSize = hidden,
        Layers = layers,
        Heads = heads,
        KvHeads = kvHeads,
        HeadDim = headDim,
        IntermediateSize = intermediate,
        VocabularySize = vocabulary,
        MaxPositions = 1 << 16,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10_000, RotaryDim = headDim },
        Windows = [.. new int[layers]],
        UsesRope = [.. Enumerable.Repeat(true, layers)],
        EosTokenIds = [],
    };
}
