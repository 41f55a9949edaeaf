namespace InferenceService.Models.Architectures;

/// <summary>What a family's config.json means where it leaves a field out (the defaults of its Hugging Face configuration class).</summary>
internal sealed record DecoderDefaults
{
    /// <summary><c>num_key_value_heads</c>; null = as many as query heads.</summary>
    public int? KvHeads { get; init; }

    /// <summary><c>head_dim</c>; null = hidden size / heads.</summary>
    public int? HeadDim { get; init; }

    /// <summary><c>max_position_embeddings</c>.</summary>
    public required int MaxPositions { get; init; }

    /// <summary><c>original_max_position_embeddings</c>; null = the family has no such default.</summary>
    public int? OriginalMaxPositions { get; init; }

    /// <summary><c>rms_norm_eps</c>.</summary>
    public float RmsNormEpsilon { get; init; } = 1e-6f;

    /// <summary><c>rope_theta</c>.</summary>
    public double Theta { get; init; } = 10_000;

    /// <summary><c>tie_word_embeddings</c>.</summary>
    public bool TiedEmbeddings { get; init; }

    /// <summary>Which layers slide.</summary>
    public WindowRule Windows { get; init; }

    /// <summary><c>sliding_window</c> where the file does not mention it; null = none.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary><c>max_window_layers</c>.</summary>
    public int MaxWindowLayers { get; init; }

    /// <summary><c>no_rope_layer_interval</c>; 0 = every layer rotates, and the fields about it mean nothing.</summary>
    public int NoRopeInterval { get; init; }

    /// <summary>The rope kinds <c>su</c> and <c>yarn</c> are old names of <c>longrope</c>.</summary>
    public bool YarnMeansLongRope { get; init; }
}

/// <summary>Which layers of a family use <c>sliding_window</c>, unless <c>layer_types</c> says it layer by layer.</summary>
internal enum WindowRule
{
    /// <summary>None; the family has no windows.</summary>
    None,

    /// <summary>Every layer (Mistral, Phi-3).</summary>
    EveryLayer,

    /// <summary>With <c>use_sliding_window</c>, layers from <c>max_window_layers</c> on (Qwen).</summary>
    UpperLayers,

    /// <summary>With <c>use_sliding_window</c>, layers that do not rotate (SmolLM3).</summary>
    LayersWithoutRope,
}
