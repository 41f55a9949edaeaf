using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>SmolLM3: Llama's layer; every fourth layer leaves q and k unrotated (arXiv:2501.18795).</summary>
internal sealed class SmolLm3Model : IArchitecture
{
    public ModelConfig ReadConfig(ConfigJson json) => DecoderConfig.Read(json, new DecoderDefaults
    {
        KvHeads = 4,
        MaxPositions = 32768,
        Theta = 2_000_000,
        TiedEmbeddings = true,
        Windows = WindowRule.LayersWithoutRope,
        NoRopeInterval = 4,
    });

    public LayerWeights Layer(ModelConfig config, int layer)
    {
        LayerWeights weights = LayerWeights.Separate(config, layer);
        if (config.AttentionBias)
            weights = weights.WithAttentionBias();
        return config.MlpBias ? weights.WithMlpBias() : weights;
    }
}
