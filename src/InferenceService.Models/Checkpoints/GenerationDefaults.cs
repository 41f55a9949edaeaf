namespace InferenceService.Models.Checkpoints;

/// <summary>Sampling defaults of <c>generation_config.json</c>; null = the file does not say.</summary>
public sealed record GenerationDefaults
{
    /// <summary>No defaults at all.</summary>
    public static GenerationDefaults None { get; } = new();

    /// <summary>False = greedy unless the request says otherwise.</summary>
    public bool? DoSample { get; init; }

    /// <summary>Temperature, ≥ 0.</summary>
    public float? Temperature { get; init; }

    /// <summary>Nucleus mass in (0, 1].</summary>
    public float? TopP { get; init; }

    /// <summary>Keep the k most likely; 0 = off.</summary>
    public int? TopK { get; init; }

    /// <summary>Minimum relative probability in [0, 1].</summary>
    public float? MinP { get; init; }

    /// <summary>Repetition penalty, > 0.</summary>
    public float? RepetitionPenalty { get; init; }

    /// <summary>Most new tokens, when stated.</summary>
    public int? MaxNewTokens { get; init; }
}
