using InferenceService.Engine;

namespace InferenceService.Server.Generation;

/// <summary>One token of an answer.</summary>
/// <param name="Id">The token.</param>
/// <param name="Logprobs">Its log-probabilities, when asked for; null for the first token of an echoed prompt.</param>
/// <param name="Offset">Where its text begins in the choice's text, in code points.</param>
/// <param name="IsPrompt">It belongs to the echoed prompt.</param>
internal readonly record struct TokenEntry(int Id, TokenLogprobs? Logprobs, int Offset, bool IsPrompt);
