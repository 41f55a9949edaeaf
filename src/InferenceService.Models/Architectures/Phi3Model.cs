using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Phi-3, Phi-3.5-mini and Phi-4 (arXiv:2404.14219): q, k, v and gate, up are stored already stacked.</summary>
internal sealed class Phi3Model : IArchitecture
{
    public ModelConfig ReadConfig(ConfigJson json) => DecoderConfig.Read(json, new DecoderDefaults
    {
        RmsNormEpsilon = 1e-5f,
        MaxPositions = 4096,
        OriginalMaxPositions = 4096,
        Windows = WindowRule.EveryLayer,
        YarnMeansLongRope = true, // early Phi-3 checkpoints named the rule "su" or "yarn" before it was called longrope
    });

    public LayerWeights Layer(ModelConfig config, int layer)
    {
        string prefix = $"model.layers.{layer}.";
        return LayerWeights.Separate(config, layer) with
        {
            Qkv = [new($"{prefix}self_attn.qkv_proj.weight", (config.Heads + 2 * config.KvHeads) * config.HeadDim, config.HiddenSize)],
            GateUp = [new($"{prefix}mlp.gate_up_proj.weight", 2 * config.IntermediateSize, config.HiddenSize)],
        };
    }
}
