namespace InferenceService.Engine.Sampling;

/// <summary>What the sampler remembers of one sequence. It survives preemption, because it depends on the tokens alone.</summary>
internal sealed class SamplerState
{
    private const int TokensAhead = 2048;

    /// <summary>State before the first generated token.</summary>
    /// <param name="request">The order from outside.</param>
    /// <param name="seed">Seed of this choice.</param>
    public SamplerState(GenerationRequest request, long seed)
    {
        SamplingParams sampling = request.Sampling;
        (Request, Key) = (request, unchecked((ulong)seed));
        BiasesAreDistinct = sampling.LogitBias.Length < 2 || sampling.LogitBias.Select(bias => bias.TokenId).Distinct().Count() == sampling.LogitBias.Length;
        bool repetition = sampling.RepetitionPenalty != 1;
        if (!repetition && sampling.FrequencyPenalty == 0 && sampling.PresencePenalty == 0)
            return;
        Counts = new TokenCounts(Math.Min(request.MaxTokens, TokensAhead) + (repetition ? Math.Min(request.PromptTokens.Length, TokensAhead) : 0));
        if (!repetition)
            return;
        foreach (int token in request.PromptTokens.Span)
            Counts.AddPrompt(token);
    }

    /// <summary>The order from outside.</summary>
    public GenerationRequest Request { get; }

    /// <summary>Parameters of the request.</summary>
    public SamplingParams Params => Request.Sampling;

    /// <summary>Philox key.</summary>
    public ulong Key { get; }

    /// <summary>Tokens seen; null when no penalty needs them. With a repetition penalty the prompt's are in it.</summary>
    public TokenCounts? Counts { get; }

    /// <summary>No token has two biases.</summary>
    public bool BiasesAreDistinct { get; }

    /// <summary>Greedy decoding.</summary>
    public bool IsGreedy => Params.Temperature == 0;
}
