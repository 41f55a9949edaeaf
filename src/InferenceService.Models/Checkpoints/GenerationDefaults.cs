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

    /// <summary>Reads generation_config.json; empty bytes stand for no file.</summary>
    /// <exception cref="CheckpointException">A field is out of range; one line that names field, value and range.</exception>
    public static GenerationDefaults FromJson(ReadOnlySpan<byte> generationConfigJson) =>
        generationConfigJson.IsEmpty ? None : Read(ConfigJson.Parse(generationConfigJson, "generation_config.json"));

    internal static GenerationDefaults Read(ConfigJson json) => new()
    {
        DoSample = json.OptionalFlag("do_sample"),
        Temperature = (float?)json.OptionalNumber("temperature", 0, 100),
        TopP = (float?)json.OptionalNumber("top_p", 1e-6, 1),
        TopK = json.OptionalInt("top_k", 0, int.MaxValue),
        MinP = (float?)json.OptionalNumber("min_p", 0, 1),
        RepetitionPenalty = (float?)json.OptionalNumber("repetition_penalty", 1e-3, 1000),
        MaxNewTokens = json.OptionalInt("max_new_tokens", 1, int.MaxValue),
    };
}
