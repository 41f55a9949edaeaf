using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>What one entry of <c>architectures</c> means: how to read its config.json, and what its layers are made of.</summary>
internal interface IArchitecture
{
    /// <summary>The shape that config.json describes, with this family's defaults for what it leaves out.</summary>
    /// <exception cref="CheckpointException">A field is missing, out of range, or asks for something not supported.</exception>
    ModelConfig ReadConfig(ConfigJson json);

    /// <summary>Weights of one layer.</summary>
    LayerWeights Layer(ModelConfig config, int layer);
}
