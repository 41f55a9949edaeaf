using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Qwen3 (arXiv:2505.09388), dense: every query and key head is normed before it is rotated.</summary>
internal sealed class Qwen3Model : IArchitecture
{
    public ModelConfig ReadConfig(ConfigJson json) => DecoderConfig.Read(json, new DecoderDefaults
    {
        HeadDim = 128,
        MaxPositions = 32768,
        SlidingWindow = 4096,
        MaxWindowLayers = 28,
        Windows = WindowRule.UpperLayers,
    });

    public LayerWeights Layer(ModelConfig config, int layer)
    {
        string attention = $"model.layers.{layer}.self_attn.";
        LayerWeights weights = LayerWeights.Separate(config, layer) with
        {
            QueryNorm = WeightSpec.Vector($"{attention}q_norm.weight", config.HeadDim),
            KeyNorm = WeightSpec.Vector($"{attention}k_norm.weight", config.HeadDim),
        };
        return config.AttentionBias ? weights.WithAttentionBias() : weights;
    }
}
