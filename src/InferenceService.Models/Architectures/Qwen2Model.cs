using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Qwen2 and Qwen2.5 (arXiv:2407.10671): biases on q, k and v, optionally sliding windows in the upper layers.</summary>
internal sealed class Qwen2Model : IArchitecture
{
    public ModelConfig ReadConfig(ConfigJson json) => DecoderConfig.Read(json, new DecoderDefaults
    {
        MaxPositions = 32768,
        SlidingWindow = 4096,
        MaxWindowLayers = 28,
        Windows = WindowRule.UpperLayers,
    });

    public LayerWeights Layer(ModelConfig config, int layer) => LayerWeights.Separate(config, layer).WithQkvBias();
}
