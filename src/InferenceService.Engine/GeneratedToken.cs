namespace InferenceService.Engine;

/// <summary>Why a choice ended.</summary>
public enum FinishReason
{
    /// <summary>It goes on.</summary>
    None,

    /// <summary>An EOS id; the token is the EOS itself and is not part of the text.</summary>
    Eos,

    /// <summary>One of the request's stop ids; see <see cref="GeneratedToken.TokenId"/>.</summary>
    StopToken,

    /// <summary>MaxTokens or the context limit is reached.</summary>
    Length,

    /// <summary>Cancelled from outside.</summary>
    Cancelled,

    /// <summary>The request failed; see <see cref="GenerationStream.Error"/>.</summary>
    Error,

    /// <summary>The request's own restrictions leave no token that may follow.</summary>
    NothingAllowed,
}

/// <summary>One event of a generation: a token, an end, or both.</summary>
/// <param name="Choice">Which continuation, from 0.</param>
/// <param name="TokenId">The token, or −1 when the event only ends the choice.</param>
/// <param name="Finish">Whether and why this choice ends with this event.</param>
/// <param name="Logprobs">Log-probabilities when asked for.</param>
public readonly record struct GeneratedToken(int Choice, int TokenId, FinishReason Finish, TokenLogprobs? Logprobs);

/// <summary>Log-probabilities of one position: the chosen token's and the most likely ones'.</summary>
/// <param name="Logprob">Natural log of the chosen token's probability.</param>
/// <param name="TopIds">Most likely ids, most likely first; ties by lower id.</param>
/// <param name="TopLogprobs">Their log-probabilities.</param>
public sealed record TokenLogprobs(float Logprob, int[] TopIds, float[] TopLogprobs);
