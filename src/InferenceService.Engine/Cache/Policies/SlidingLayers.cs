using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>Checkpoints whose own layers slide: their windows count slots, which a policy that drops tokens brings closer together.</summary>
internal static class SlidingLayers
{
    /// <summary>Refuses such a checkpoint.</summary>
    /// <exception cref="CheckpointException">A layer sees less than the context.</exception>
    public static void Refuse(string policy, ModelConfig model)
    {
        for (int layer = 0; layer < model.Windows.Length; layer++)
        {
            if (model.Windows[layer] > 0 && model.Windows[layer] < model.MaxPositions)
            {
                throw new CheckpointException($"KV policy {policy} drops tokens, and layer {layer} of this checkpoint has a sliding window of "
                    + $"{model.Windows[layer]} slots of its own; such checkpoints take the policy full.");
            }
        }
    }
}
