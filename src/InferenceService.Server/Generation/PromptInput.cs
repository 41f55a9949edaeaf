namespace InferenceService.Server.Generation;

/// <summary>A completions prompt as the client sent it: text, or token ids that are inside the vocabulary.</summary>
internal readonly record struct PromptInput(string? Text, int[]? Ids);
