using InferenceService.Models;

namespace InferenceService.Engine.Tests.Sampling;

/// <summary>A model of which a sampler needs no more than how many tokens there are and which of them end a text.</summary>
internal static class VocabularyOnly
{
    public static ModelConfig Config(int vocabulary, params int[] endOfSequence) => new()
    {
        Architecture = "LlamaForCausalLM",
        HiddenSize = 1,
        Layers = 1,
        Heads = 1,
        KvHeads = 1,
        HeadDim = 1,
        IntermediateSize = 1,
        VocabularySize = vocabulary,
        MaxPositions = 1000,
        RmsNormEpsilon = 1,
        Rope = new RopeConfig { Theta = 1, RotaryDim = 0 },
        Windows = [0],
        UsesRope = [true],
        EosTokenIds = [.. endOfSequence],
    };
}
