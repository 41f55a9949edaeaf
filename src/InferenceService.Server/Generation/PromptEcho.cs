using InferenceService.Engine;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Generation;

/// <summary>What stands before an answer when the request wants to see its prompt again.</summary>
/// <param name="Text">The text.</param>
/// <param name="Ids">The prompt's tokens, when they are to be listed as well; else null.</param>
internal sealed record PromptEcho(string Text, int[]? Ids)
{
    /// <summary>The tokens with their places in the text.</summary>
    /// <param name="logprobs">Log-probabilities by position, when asked for; entry 0 is null.</param>
    public IEnumerable<TokenEntry> Tokens(Tokenizer tokenizer, bool skipSpecialTokens, IReadOnlyList<TokenLogprobs?>? logprobs)
    {
        if (Ids is null)
            yield break;
        Detokenizer detokenizer = tokenizer.NewDetokenizer(skipSpecialTokens);
        int offset = 0;
        for (int i = 0; i < Ids.Length; i++)
        {
            yield return new TokenEntry(Ids[i], i < logprobs?.Count ? logprobs[i] : null, offset, IsPrompt: true);
            offset += CodePoints.Count(detokenizer.Append(Ids[i]));
        }
    }
}
