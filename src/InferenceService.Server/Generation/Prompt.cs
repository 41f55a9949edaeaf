namespace InferenceService.Server.Generation;

/// <summary>A prompt as the engine will read it.</summary>
/// <param name="Ids">Token ids, inside the vocabulary, not empty.</param>
/// <param name="Text">The text they came from; null when the client sent ids or the prompt was truncated.</param>
internal sealed record Prompt(int[] Ids, string? Text);
