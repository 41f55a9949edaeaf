namespace InferenceService.Models;

/// <summary>Sizes of a model's workspaces, fixed when it loads.</summary>
/// <param name="MaxRows">Most rows (tokens of all sequences) of one forward pass.</param>
/// <param name="MaxLogitRows">Most rows whose logits are wanted in one step.</param>
public sealed record DecoderLimits(int MaxRows, int MaxLogitRows);
