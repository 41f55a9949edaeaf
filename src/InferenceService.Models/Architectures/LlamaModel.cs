using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Llama 1, 2 and 3 (arXiv:2302.13971, arXiv:2407.21783) and the many models that kept its layout.</summary>
internal sealed class LlamaModel : IArchitecture
{
    public ModelConfig ReadConfig(ConfigJson json) => DecoderConfig.Read(json, new DecoderDefaults { MaxPositions = 2048 });

    public LayerWeights Layer(ModelConfig config, int layer)
    {
        LayerWeights weights = LayerWeights.Separate(config, layer);
        if (config.AttentionBias)
            weights = weights.WithAttentionBias();
        return config.MlpBias ? weights.WithMlpBias() : weights;
    }
}
