using System.Collections.Immutable;

namespace InferenceService.Engine.Sampling;

/// <summary>How the next token is chosen. Ranges are checked at the door (Server); the engine trusts them.</summary>
public sealed record SamplingParams
{
    /// <summary>Below it, and above 0, temperatures are taken for it.</summary>
    public const float LowestTemperature = 0.01f;

    /// <summary>0 = greedy (lowest id wins ties); otherwise logits are divided by it.</summary>
    public float Temperature { get; init; } = 1f;

    /// <summary>Nucleus mass in (0, 1].</summary>
    public float TopP { get; init; } = 1f;

    /// <summary>Keep the k most likely; 0 = off.</summary>
    public int TopK { get; init; }

    /// <summary>Drop tokens less likely than this fraction of the most likely one, in [0, 1].</summary>
    public float MinP { get; init; }

    /// <summary>Subtracted once per earlier occurrence among generated tokens, in [−2, 2].</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Subtracted when a token was generated before, in [−2, 2].</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens in prompt or output, in (0, 10].</summary>
    public float RepetitionPenalty { get; init; } = 1f;

    /// <summary>Added to logits before penalties.</summary>
    public ImmutableArray<LogitBias> LogitBias { get; init; } = [];

    /// <summary>Only these ids may be chosen; default = all.</summary>
    public ImmutableArray<int> AllowedTokenIds { get; init; }

    /// <summary>Token sequences that may not appear in the output.</summary>
    public ImmutableArray<ImmutableArray<int>> BadWords { get; init; } = [];

    /// <summary>Choice j draws from seed + j; null = the engine draws a seed per request.</summary>
    public long? Seed { get; init; }

    /// <summary>Until so many tokens are generated, EOS and stop ids are masked.</summary>
    public int MinTokens { get; init; }

    /// <summary>Most likely alternatives to report per generated token, with the chosen one's log-probability; −1 = no log-probabilities.</summary>
    public int TopLogprobs { get; init; } = -1;

    /// <summary>Same for every prompt token; −1 = none. Such a request reads no cached prefix.</summary>
    public int PromptLogprobs { get; init; } = -1;

    /// <summary>
    /// Teacher forcing: every choice's output starts with these ids, whatever the logits say, and log-probabilities are those of the forced ids.
    /// Scores a given continuation with the cache in the state that a KV policy leaves it in; sampling goes on where they end.
    /// </summary>
    public ReadOnlyMemory<int> ForcedTokens { get; init; }

    /// <summary>Report log-probabilities after all processing instead of from the raw logits.</summary>
    public bool ProcessedLogprobs { get; init; }
}

/// <summary>One entry of a logit bias map.</summary>
public readonly record struct LogitBias(int TokenId, float Bias);
