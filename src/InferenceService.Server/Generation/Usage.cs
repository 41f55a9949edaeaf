namespace InferenceService.Server.Generation;

/// <summary>Tokens of a request, as it stands.</summary>
/// <param name="Prompt">Prompt tokens, each prompt once, whatever n is.</param>
/// <param name="Completion">Generated tokens of all choices, those of unreturned ones (best_of) included.</param>
/// <param name="Cached">Prompt tokens that came from the prefix cache.</param>
internal readonly record struct Usage(int Prompt, int Completion, int Cached);
