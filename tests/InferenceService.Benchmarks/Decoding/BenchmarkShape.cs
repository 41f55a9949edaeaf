using InferenceService.Models;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>Llama shapes for runs without a checkpoint, filled with seeded random weights.</summary>
internal static class BenchmarkShape
{
    public static IReadOnlyList<string> Names { get; } = ["tiny", "small", "tinyllama", "deep"];

    /// <summary>tiny 3.7M, small 110M, tinyllama 1.1B parameters; deep: 32 narrow layers with heads of 128, the cache of a 7B model in small.</summary>
    public static ModelConfig Config(string name) => name switch
    {
        "tiny" => Llama(layers: 4, hidden: 256, heads: 4, kvHeads: 2, intermediate: 688, vocabulary: 4096, positions: 2048),
        "small" => Llama(layers: 12, hidden: 768, heads: 12, kvHeads: 4, intermediate: 2048, vocabulary: 32000, positions: 4096),
        "tinyllama" => Llama(layers: 22, hidden: 2048, heads: 32, kvHeads: 4, intermediate: 5632, vocabulary: 32000, positions: 4096),
        "deep" => Llama(layers: 32, hidden: 512, heads: 4, kvHeads: 2, intermediate: 1024, vocabulary: 4096, positions: 16384),
        _ => throw new ArgumentException($"--shape '{name}' is not one of: {string.Join(", ", Names)}."),
    };

    /// <summary>Elements of all matrices that a decode step reads in full (the embedding is read by row only).</summary>
    public static long MatrixElements(ModelConfig config)
    {
        long attention = 2L * config.HiddenSize * config.HeadDim * config.Heads, keysValues = 2L * config.HiddenSize * config.HeadDim * config.KvHeads;
        long mlp = 3L * config.HiddenSize * config.IntermediateSize;
        return config.Layers * (attention + mlp) + OwnerLayers(config) * keysValues + (long)config.VocabularySize * config.HiddenSize;
    }

    /// <summary>Bytes of K and V of one token in all layers that own a cache.</summary>
    public static long KvBytesPerToken(ModelConfig config, int elementSize) =>
        2L * OwnerLayers(config) * config.KvHeads * config.HeadDim * elementSize;

    private static int OwnerLayers(ModelConfig config) => config.KvSources.Distinct().Count();

    private static ModelConfig Llama(int layers, int hidden, int heads, int kvHeads, int intermediate, int vocabulary, int positions) => new()
    {
        Architecture = "LlamaForCausalLM",
        HiddenSize = hidden,
        Layers = layers,
        Heads = heads,
        KvHeads = kvHeads,
        HeadDim = hidden / heads,
        IntermediateSize = intermediate,
        VocabularySize = vocabulary,
        MaxPositions = positions,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10000, RotaryDim = hidden / heads },
        Windows = [.. Enumerable.Repeat(0, layers)],
        UsesRope = [.. Enumerable.Repeat(true, layers)],
    };
}
