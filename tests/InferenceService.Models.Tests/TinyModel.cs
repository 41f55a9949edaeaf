namespace InferenceService.Models.Tests;

/// <summary>Shapes small enough to run in a test.</summary>
internal static class TinyModel
{
    /// <summary>Three layers of 32, two query heads for each of two KV heads, 101 tokens.</summary>
    public static ModelConfig Config(string architecture = "LlamaForCausalLM") => new()
    {
        Architecture = architecture,
        HiddenSize = 32,
        Layers = 3,
        Heads = 4,
        KvHeads = 2,
        HeadDim = 8,
        IntermediateSize = 48,
        VocabularySize = 101,
        MaxPositions = 128,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10_000, RotaryDim = 8 },
        Windows = [0, 0, 0],
        UsesRope = [true, true, true],
    };

    /// <summary>The same with as many layers as sources, each reading the cache of the layer named.</summary>
    public static ModelConfig Sharing(params int[] sources) => Config("LCKVLlamaForCausalLM") with
    {
        Layers = sources.Length,
        Windows = [.. sources.Select(_ => 0)],
        UsesRope = [.. sources.Select(_ => true)],
        KvSources = [.. sources],
    };
}
