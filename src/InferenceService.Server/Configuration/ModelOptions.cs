using System.ComponentModel.DataAnnotations;
using System.Globalization;
using InferenceService.Compute;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Models:N</c>: one checkpoint and how it is served.</summary>
internal sealed record ModelOptions
{
    /// <summary>
    /// Folder, a file in it, the name of an embedded model, or <c>org/name[@revision]</c> on the hub, which is downloaded when it is not in the local
    /// cache. Default null: the embedded model.
    /// </summary>
    public string? Path { get; init; }

    /// <summary>Branch, tag or commit of a model on the hub, where the path does not say it. Default main.</summary>
    public string? Revision { get; init; }

    /// <summary><see cref="Path"/> with the revision.</summary>
    internal string? Source => Revision is null ? Path : $"{Path}@{Revision}";

    /// <summary>Names clients may use, the first is canonical. Default: last segment of the path.</summary>
    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>Prompt and output together. Range 1–100,000,000; default the checkpoint's own, reduced to fit the pool.</summary>
    [Range(1, 100_000_000)]
    public int? MaxModelLen { get; init; }

    /// <summary>
    /// Element type of the weights. Default auto: as stored, computed in fp32. bfloat16 multiplies weights and activations rounded to it;
    /// any other named type must be the stored one.
    /// </summary>
    [OneOf("auto", "float32", "float16", "bfloat16")]
    public string Dtype { get; init; } = "auto";

    /// <summary>Quantisation of the layers' matrices at load; the output head then has 8 bits. Default none.</summary>
    [OneOf("none", "int8", "int4")]
    public string Quantization { get; init; } = "none";

    /// <summary>
    /// Folder in which rounded matrices are kept for the next start; <c>true</c> = the checkpoint's own. Default null: nowhere. CPU only.
    /// </summary>
    public string? PackedCache { get; init; }

    /// <summary><see cref="PackedCache"/> for a checkpoint in <paramref name="checkpoint"/>; null = none is wanted.</summary>
    internal string? PackedCacheFolder(string checkpoint) => PackedCache switch
    {
        null or "" or "false" => null,
        "true" => checkpoint,
        _ => System.IO.Path.GetFullPath(PackedCache),
    };

    /// <summary>How matrices are held by <see cref="Dtype"/> and <see cref="Quantization"/>.</summary>
    internal WeightFormat WeightFormat => Quantization switch
    {
        "int8" => WeightFormat.Int8,
        "int4" => WeightFormat.Int4,
        _ => Dtype == "bfloat16" ? WeightFormat.BF16 : WeightFormat.Stored,
    };

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
    /// <summary>Element type of K and V. Default auto: the checkpoint's. int8 and int4: new tokens as auto, older ones quantised.</summary>
    [OneOf("auto", "float32", "float16", "bfloat16", "int8", "int4", NotYet = ["fp8", "fp8_e4m3", "fp8_e5m2"])]
    public string Dtype { get; init; } = "auto";

    /// <summary>Bits of quantised blocks; 0 = there are none.</summary>
    internal int PackedBits => Dtype switch { "int4" => 4, "int8" => 8, _ => 0 };

    /// <summary>Option values of a policy before a request says more: those configured for the model's own, and the bits that the cache is loaded for.</summary>
    internal Dictionary<string, string> OptionsOf(string policy)
    {
        Dictionary<string, string> values = policy == Policy ? new(PolicyOptions) : [];
        if (values.TryGetValue("value_bits", out string? bits))
            values.TryAdd("key_bits", bits);
        else if (PackedBits > 0)
            values.TryAdd("key_bits", PackedBits.ToString(CultureInfo.InvariantCulture));
        return values;
    }

    /// <summary>Retention policy of requests that choose none, by name. Default full.</summary>
    public string Policy { get; init; } = "full";

    /// <summary>Its options by name; those left out have the policy's own defaults.</summary>
    [Refines(nameof(Policy))]
    public IReadOnlyDictionary<string, string> PolicyOptions { get; init; } = new Dictionary<string, string>();

    /// <summary>A JSON file that stands for <see cref="Policy"/> and <see cref="PolicyOptions"/>: <c>{"name": …, options}</c>, as in a request.</summary>
    public string? PolicyFile { get; init; }

    /// <summary>Policies that requests may choose besides the default one; none named = every policy that accepts the loaded layout.</summary>
    public IReadOnlyList<string> AllowedPolicies { get; init; } = [];

    /// <summary>Lowest and highest value that an option may have, whoever sets it: option to <c>low,high</c>; either may be empty.</summary>
    public IReadOnlyDictionary<string, string> PolicyBounds { get; init; } = new Dictionary<string, string>();

    /// <summary>Which lanes keep and drop together. Default auto: as coarse as <see cref="Policy"/> and <see cref="AllowedPolicies"/> permit.</summary>
    [OneOf("auto", "model", "layer", "head")]
    public string Grouping { get; init; } = "auto";

    /// <summary>
    /// Host memory for the K and V of preempted sequences whose policy drops or packs tokens; beyond it they are recomputed token by token.
    /// Range 0–64 TiB; default up to 4 GiB, at most half of what the memory plan leaves.
    /// </summary>
    [Range(0L, 1L << 46)]
    public long? SwapBytes { get; init; }

    /// <summary>Every answer's usage tells what it held in the cache, as with <c>kv_report</c>. Default false.</summary>
    public bool Report { get; init; }
}
