using System.Runtime.InteropServices;

namespace InferenceService.Compute;

/// <summary>How the next token of one row of logits is chosen where the logits are: <see cref="IBackend.Choose"/>.</summary>
/// <remarks>
/// In this order: changes, division by the temperature, min-p, top-k, top-p, and the token with the highest sum of score and Gumbel noise, whose
/// random words are Philox4x32-10 of key, position and token.
/// </remarks>
/// <param name="Row">Row of the logits; no other order names it.</param>
/// <param name="Position">Position of the token.</param>
/// <param name="Key">Seed.</param>
/// <param name="LogMinP">ln of the fraction of the highest probability below which tokens are dropped; −∞ = none.</param>
/// <param name="Temperature">0 = the highest logit, lowest id first; otherwise what logits are divided by.</param>
/// <param name="TopP">Nucleus mass in (0, 1].</param>
/// <param name="RepetitionPenalty">Divides positive and multiplies negative logits of all changes that are no bias.</param>
/// <param name="FrequencyPenalty">Subtracted once per time that a token was generated.</param>
/// <param name="PresencePenalty">Subtracted once from tokens that were generated.</param>
/// <param name="TopK">Keep so many; 0 = all.</param>
/// <param name="FirstChange">First of this row's changes.</param>
/// <param name="Changes">How many there are.</param>
/// <param name="Next">Where the id goes for the step that follows, before the host knows it; −1 = nowhere.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct TokenOrder(
    int Row, int Position, ulong Key, double LogMinP, float Temperature, float TopP, float RepetitionPenalty, float FrequencyPenalty,
    float PresencePenalty, int TopK, int FirstChange, int Changes, int Next)
{
    /// <summary>Bytes of an order.</summary>
    public const int ByteLength = 64;

    /// <summary>Instead of a token: a logit is NaN or +∞.</summary>
    public const int NotNumbers = -1;

    /// <summary>Instead of a token: every logit is −∞.</summary>
    public const int NothingAllowed = -2;
}

/// <summary>What a request does to one logit before the choice. A token stands at most once among a row's biases, and once among its others.</summary>
/// <param name="Token">Id.</param>
/// <param name="Generated">−1: add the bias; else the token is known, and was generated so many times.</param>
/// <param name="Bias">Added to the logit.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct LogitChange(int Token, int Generated, float Bias)
{
    /// <summary>Words of a change.</summary>
    public const int Words = 3;
}
