using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Mistral (arXiv:2310.06825): Llama's layer with a sliding window, which later releases set to null.</summary>
internal sealed class MistralModel : IArchitecture
{
    public ModelConfig ReadConfig(ConfigJson json) => DecoderConfig.Read(json, new DecoderDefaults
    {
        KvHeads = 8,
        MaxPositions = 4096 * 32,
        SlidingWindow = 4096, // a config that does not mention the window means 4096; null means none
        Windows = WindowRule.EveryLayer,
    });

    public LayerWeights Layer(ModelConfig config, int layer) => LayerWeights.Separate(config, layer);
}
