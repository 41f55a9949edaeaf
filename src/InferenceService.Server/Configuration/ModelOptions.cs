using System.ComponentModel.DataAnnotations;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Models:N</c>: one checkpoint and how it is served.</summary>
internal sealed record ModelOptions
{
    /// <summary>Folder, a file in it, or <c>org/name</c> in the local Hugging Face cache; null = the embedded model.</summary>
    public string? Path { get; init; }

    /// <summary>Names clients may use, the first is canonical. Default: last segment of the path.</summary>
    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>Prompt and output together. Range 1–100,000,000; default the checkpoint's own, reduced to fit the pool.</summary>
    [Range(1, 100_000_000)]
    public int? MaxModelLen { get; init; }

    /// <summary>Element type of the weights; they are served as stored, so a named type must be the stored one. Default auto.</summary>
    [OneOf("auto", "float32", "float16", "bfloat16")]
    public string Dtype { get; init; } = "auto";

    /// <summary>Weight quantisation at load. Default none.</summary>
    [OneOf("none", NotYet = ["int8", "int4"])]
    public string Quantization { get; init; } = "none";

    /// <summary>The paged cache.</summary>
    public KvCacheOptions KvCache { get; init; } = new();

    /// <summary>Sampling defaults of the checkpoint: auto uses them, none ignores them. Default auto.</summary>
    [OneOf("auto", "none")]
    public string GenerationConfig { get; init; } = "auto";

    /// <summary>A template file, or template text; null = the checkpoint's own.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>JSON object of variables for the chat template; a request's own win. Default none.</summary>
    public string? ChatTemplateKwargs { get; init; }

    /// <summary>Format of tool calls. Default auto.</summary>
    [OneOf("auto")]
    public string ToolParser { get; init; } = "auto";

    /// <summary>Format of reasoning. Default auto.</summary>
    [OneOf("auto")]
    public string ReasoningParser { get; init; } = "auto";
}

/// <summary>Section <c>Models:N:KvCache</c>.</summary>
internal sealed record KvCacheOptions
{
    /// <summary>Element type of K and V; int8 and int4: old tokens in so many bits, the newest as the checkpoint. Default auto: the checkpoint's.</summary>
    [OneOf("auto", "float32", "float16", "bfloat16", "int8", "int4", NotYet = ["fp8", "fp8_e4m3", "fp8_e5m2"])]
    public string Dtype { get; init; } = "auto";

    /// <summary>Retention policy by name. Default full.</summary>
    public string Policy { get; init; } = "full";
}
