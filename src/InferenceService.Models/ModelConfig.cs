using System.Collections.Immutable;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models;

/// <summary>Shape of a decoder, read from <c>config.json</c> and the same for every architecture.</summary>
public sealed record ModelConfig
{
    /// <summary>Entry of <c>architectures</c>, for example <c>LlamaForCausalLM</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads a layer.</summary>
    public required int Heads { get; init; }

    /// <summary>KV heads a layer; divides <see cref="Heads"/>.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Elements a head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Width of the MLP.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Rows of the embedding; ids at or above it do not exist.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Longest sequence, prompt and output together, that the checkpoint allows (rope scaling included).</summary>
    public required int MaxPositions { get; init; }

    /// <summary>ε of every RMS norm.</summary>
    public required float RmsNormEpsilon { get; init; }

    /// <summary>Rotary embedding.</summary>
    public required RopeConfig Rope { get; init; }

    /// <summary>Sliding window of each layer in tokens, the own token included; 0 = full attention.</summary>
    public required ImmutableArray<int> Windows { get; init; }

    /// <summary>Entry l: the layer whose K and V layer l reads; itself where nothing else is said. A layer that is read reads itself.</summary>
    public ImmutableArray<int> KvSources
    {
        get => field.IsDefault ? [.. Enumerable.Range(0, Layers)] : field;
        init;
    }

    /// <summary><c>force_nodiag</c>: no layer sees its own token, not only those that read a layer above them.</summary>
    public bool ForceNoDiagonal { get; init; }

    /// <summary><c>forward_passes</c>: passes without gradients over a prompt, <c>m</c> of arXiv:2405.10637.</summary>
    public int ForwardPasses { get; init; } = 7;

    /// <summary><c>backward_passes</c>: those that training backs through, <c>b</c> there.</summary>
    public int BackwardPasses { get; init; } = 2;

    /// <summary><c>use_sequential</c>: a prompt is encoded as if token by token, with as many passes as a chunk has tokens.</summary>
    public bool SequentialPrompt { get; init; }

    /// <summary>Most passes of a prompt chunk over layers that read from above.</summary>
    public int PromptPasses => SequentialPrompt ? int.MaxValue : ForwardPasses + BackwardPasses;

    /// <summary>Layers that rotate q and k; SmolLM3 leaves some out.</summary>
    public required ImmutableArray<bool> UsesRope { get; init; }

    /// <summary><c>attention_bias</c>: the attention projections add biases, where the architecture lets config.json choose.</summary>
    public bool AttentionBias { get; init; }

    /// <summary><c>mlp_bias</c>: the MLP projections add biases, where the architecture lets config.json choose.</summary>
    public bool MlpBias { get; init; }

    /// <summary>The output head is the embedding.</summary>
    public bool TiedEmbeddings { get; init; }

    /// <summary>Element type that config.json states for the weights, for the KV cache's <c>auto</c>; null when it states none.</summary>
    public Compute.DType? StatedType { get; init; }

    /// <summary>Ids that end a generation (config.json and generation_config.json together).</summary>
    public ImmutableArray<int> EosTokenIds { get; init; } = [];

    /// <summary>Id that begins a text, when the checkpoint names one.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>Reads <c>config.json</c> and, where there is one, <c>generation_config.json</c> (empty bytes = none).</summary>
    /// <exception cref="CheckpointException">
    /// Not JSON, an architecture that is not supported, or a field that is missing or out of range; one line that names it.
    /// </exception>
    public static ModelConfig FromJson(ReadOnlySpan<byte> configJson, ReadOnlySpan<byte> generationConfigJson) => ModelConfigJson.Read(
        ConfigJson.Parse(configJson, "config.json"),
        generationConfigJson.IsEmpty ? null : ConfigJson.Parse(generationConfigJson, "generation_config.json"));
}

/// <summary>Rotary embedding (arXiv:2104.09864) and the scaling rule that stretches it.</summary>
public sealed record RopeConfig
{
    /// <summary>Base of the frequencies.</summary>
    public required double Theta { get; init; }

    /// <summary>Elements of a head that rotate; the rest pass through.</summary>
    public required int RotaryDim { get; init; }

    /// <summary>Scaling rule; null = none.</summary>
    public RopeScaling? Scaling { get; init; }
}

/// <summary>One <c>rope_scaling</c> object: kind and parameters. Parameters a kind does not use stay null.</summary>
public sealed record RopeScaling
{
    internal const string Linear = "linear", Dynamic = "dynamic", Llama3 = "llama3", Yarn = "yarn", LongRope = "longrope";

    /// <summary><c>linear</c>, <c>dynamic</c>, <c>llama3</c>, <c>yarn</c> or <c>longrope</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>Stretch factor.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Context of the unscaled training.</summary>
    public int? OriginalMaxPositions { get; init; }

    /// <summary>llama3: <c>low_freq_factor</c>.</summary>
    public double? LowFrequencyFactor { get; init; }

    /// <summary>llama3: <c>high_freq_factor</c>.</summary>
    public double? HighFrequencyFactor { get; init; }

    /// <summary>yarn: <c>beta_fast</c>.</summary>
    public double? BetaFast { get; init; }

    /// <summary>yarn: <c>beta_slow</c>.</summary>
    public double? BetaSlow { get; init; }

    /// <summary>yarn and longrope: factor on cosines and sines, when stated.</summary>
    public double? AttentionFactor { get; init; }

    /// <summary>yarn: <c>truncate</c>, whether the ramp begins and ends on whole pairs.</summary>
    public bool Truncate { get; init; } = true;

    /// <summary>yarn: <c>mscale</c>.</summary>
    public double? MScale { get; init; }

    /// <summary>yarn: <c>mscale_all_dim</c>.</summary>
    public double? MScaleAllDim { get; init; }

    /// <summary>longrope: per-frequency factors up to the original context.</summary>
    public ImmutableArray<double> ShortFactors { get; init; } = [];

    /// <summary>longrope: per-frequency factors beyond it.</summary>
    public ImmutableArray<double> LongFactors { get; init; } = [];
}
