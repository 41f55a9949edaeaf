using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>
/// Llama with a KV cache shared between layers by a string of sources: LCKV (arXiv:2405.10637), its generalisation
/// (arXiv:2410.14442), and with it CLA, YOCO and MixAttention. Only layers that are read have k and v projections.
/// </summary>
internal sealed class LckvLlamaModel : IArchitecture
{
    /// <summary>Name in <c>architectures</c>.</summary>
    public const string Name = "LCKVLlamaForCausalLM";

    /// <summary>True for checkpoints of this family whatever their <c>architectures</c> say: early releases call themselves Llama there.</summary>
    public static bool IsFamily(ConfigJson json) =>
        json.HasText("model_type") && json.OptionalText("model_type") is "lckv-llama" or "opt-llama" or "group-opt-llama" or "cla-llama";

    public ModelConfig ReadConfig(ConfigJson json)
    {
        ModelConfig config = DecoderConfig.Read(json, new DecoderDefaults { MaxPositions = 2048 });
        LayerSources sources = LayerSources.Read(json, config.Layers, out KvEncoding encoding);
        return config with
        {
            KvSources = sources.Source,
            Windows = sources.Windows,
            ForceNoDiagonal = encoding.ForceNoDiagonal,
            ForwardPasses = encoding.ForwardPasses,
            BackwardPasses = encoding.BackwardPasses,
            SequentialPrompt = encoding.Sequential,
        };
    }

    public LayerWeights Layer(ModelConfig config, int layer)
    {
        LayerWeights weights = LayerWeights.Separate(config, layer);
        if (config.KvSources[layer] != layer)
            weights = weights with { Qkv = [weights.Qkv[0]] };
        if (config.AttentionBias)
            weights = weights.WithAttentionBias();
        return config.MlpBias ? weights.WithMlpBias() : weights;
    }
}
