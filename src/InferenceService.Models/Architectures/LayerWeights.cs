using System.Collections.Immutable;

namespace InferenceService.Models.Architectures;

/// <summary>The weights of one decoder layer, by the names a checkpoint gives them.</summary>
/// <remarks>Lists are stacked row by row into one weight when a model loads, in the order given.</remarks>
internal sealed record LayerWeights
{
    /// <summary>Norm before attention.</summary>
    public required WeightSpec InputNorm { get; init; }

    /// <summary>Projections to q, k and v: together (heads + 2·kvHeads)·headDim rows.</summary>
    public required ImmutableArray<WeightSpec> Qkv { get; init; }

    /// <summary>Biases of <see cref="Qkv"/>; empty = none.</summary>
    public ImmutableArray<WeightSpec> QkvBias { get; init; } = [];

    /// <summary>Norm of every query head; null = none.</summary>
    public WeightSpec? QueryNorm { get; init; }

    /// <summary>Norm of every key head; null = none.</summary>
    public WeightSpec? KeyNorm { get; init; }

    /// <summary>Projection of the heads back to the residual stream.</summary>
    public required WeightSpec AttentionOutput { get; init; }

    /// <summary>Its bias; null = none.</summary>
    public WeightSpec? AttentionOutputBias { get; init; }

    /// <summary>Norm before the MLP.</summary>
    public required WeightSpec PostAttentionNorm { get; init; }

    /// <summary>Gate, then up: together 2·intermediate rows.</summary>
    public required ImmutableArray<WeightSpec> GateUp { get; init; }

    /// <summary>Biases of <see cref="GateUp"/>; empty = none.</summary>
    public ImmutableArray<WeightSpec> GateUpBias { get; init; } = [];

    /// <summary>Projection of the MLP back to the residual stream.</summary>
    public required WeightSpec Down { get; init; }

    /// <summary>Its bias; null = none.</summary>
    public WeightSpec? DownBias { get; init; }

    /// <summary>The layout that Llama introduced and most families kept: separate q, k, v, gate and up, no biases.</summary>
    public static LayerWeights Separate(ModelConfig config, int layer)
    {
        string attention = $"model.layers.{layer}.self_attn.", mlp = $"model.layers.{layer}.mlp.";
        int hidden = config.HiddenSize, queries = config.Heads * config.HeadDim, keys = config.KvHeads * config.HeadDim;
        return new LayerWeights
        {
            InputNorm = WeightSpec.Vector($"model.layers.{layer}.input_layernorm.weight", hidden),
            Qkv =
            [
                new($"{attention}q_proj.weight", queries, hidden),
                new($"{attention}k_proj.weight", keys, hidden),
                new($"{attention}v_proj.weight", keys, hidden),
            ],
            AttentionOutput = new($"{attention}o_proj.weight", hidden, queries),
            PostAttentionNorm = WeightSpec.Vector($"model.layers.{layer}.post_attention_layernorm.weight", hidden),
            GateUp =
            [
                new($"{mlp}gate_proj.weight", config.IntermediateSize, hidden),
                new($"{mlp}up_proj.weight", config.IntermediateSize, hidden),
            ],
            Down = new($"{mlp}down_proj.weight", hidden, config.IntermediateSize),
        };
    }

    /// <summary>The same layer with a bias for each of q, k and v.</summary>
    public LayerWeights WithQkvBias() => this with { QkvBias = [.. Qkv.Select(BiasOf)] };

    /// <summary>The same layer with a bias for every attention projection.</summary>
    public LayerWeights WithAttentionBias() => WithQkvBias() with { AttentionOutputBias = BiasOf(AttentionOutput) };

    /// <summary>The same layer with a bias for every MLP projection.</summary>
    public LayerWeights WithMlpBias() => this with { GateUpBias = [.. GateUp.Select(BiasOf)], DownBias = BiasOf(Down) };

    /// <summary>All weights of the layer, in the order they are used.</summary>
    public IEnumerable<WeightSpec> All() =>
        [InputNorm, .. Qkv, .. QkvBias, .. Optional(QueryNorm), .. Optional(KeyNorm), AttentionOutput, .. Optional(AttentionOutputBias),
            PostAttentionNorm, .. GateUp, .. GateUpBias, Down, .. Optional(DownBias)];

    /// <summary>The matrices among them.</summary>
    public IEnumerable<WeightSpec> Matrices() => [.. Qkv, AttentionOutput, .. GateUp, Down];

    private static WeightSpec BiasOf(WeightSpec matrix) =>
        WeightSpec.Vector(string.Concat(matrix.Name.AsSpan(0, matrix.Name.Length - ".weight".Length), ".bias"), matrix.Rows);

    private static WeightSpec[] Optional(WeightSpec? weight) => weight is { } given ? [given] : [];
}
