using System.Text;
using InferenceService.Engine;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Generation;

/// <summary>What stands before an answer when the request wants to see its prompt again.</summary>
/// <param name="Text">The text.</param>
/// <param name="Ids">The prompt's tokens, when they are to be listed as well; else null.</param>
/// <param name="Offsets">Where each of them begins, in code points of the text.</param>
internal sealed record PromptEcho(string Text, int[]? Ids = null, int[]? Offsets = null)
{
    /// <summary>The echo of a prompt: its own text where its tokens can be found in that, else what the tokens stand for.</summary>
    /// <remarks>Half a character at the end is left to the answer, which completes it or not.</remarks>
    /// <param name="listTokens">The tokens are to be listed.</param>
    public static PromptEcho Of(Prompt prompt, Tokenizer tokenizer, bool skipSpecialTokens, bool listTokens)
    {
        if (prompt.Text is { } own)
        {
            if (!listTokens)
                return new PromptEcho(own);
            if (Find(own, prompt.Ids, tokenizer) is { } places)
                return new PromptEcho(own, prompt.Ids, places);
        }

        Detokenizer detokenizer = tokenizer.NewDetokenizer(skipSpecialTokens);
        var text = new StringBuilder();
        var offsets = new int[prompt.Ids.Length];
        int offset = 0;
        for (int i = 0; i < offsets.Length; i++)
        {
            offsets[i] = offset;
            string piece = detokenizer.Append(prompt.Ids[i]);
            text.Append(piece);
            offset += CodePoints.Count(piece);
        }

        return listTokens ? new PromptEcho(text.ToString(), prompt.Ids, offsets) : new PromptEcho(text.ToString());
    }

    /// <summary>The tokens with their places in the text.</summary>
    /// <param name="logprobs">Log-probabilities by position, when asked for; entry 0 is null.</param>
    public IEnumerable<TokenEntry> Tokens(IReadOnlyList<TokenLogprobs?>? logprobs)
    {
        for (int i = 0; i < Ids?.Length; i++)
            yield return new TokenEntry(Ids[i], i < logprobs?.Count ? logprobs[i] : null, Offsets![i], IsPrompt: true);
    }

    /// <summary>Where each token begins in the text it came from; null when the tokens do not spell it, as after a normalizer.</summary>
    private static int[]? Find(string text, int[] ids, Tokenizer tokenizer)
    {
        Detokenizer detokenizer = tokenizer.NewDetokenizer(skipSpecialTokens: true);
        var offsets = new int[ids.Length];
        int at = 0, offset = 0;
        for (int i = 0; i < ids.Length; i++)
        {
            offsets[i] = offset;
            // A special token is part of the text only where the client wrote it; the tokenizer may have put it there itself.
            bool special = tokenizer.IsSpecial(ids[i]);
            string piece = special ? tokenizer.TokenText(ids[i]) : detokenizer.Append(ids[i]);
            if (text.AsSpan(at).StartsWith(piece, StringComparison.Ordinal))
            {
                at += piece.Length;
                offset += CodePoints.Count(piece);
            }
            else if (!special)
            {
                return null;
            }
        }

        return at == text.Length ? offsets : null;
    }
}
