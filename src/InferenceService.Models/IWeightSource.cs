using InferenceService.Compute;

namespace InferenceService.Models;

/// <summary>Where named weights come from: a checkpoint folder, or seeded random numbers.</summary>
public interface IWeightSource
{
    /// <summary>The weight as stored, in host memory: [out, in] for matrices, [1, n] for vectors; false when the source lacks it.</summary>
    bool TryGet(string name, out Tensor weight);
}
