using System.Collections.Immutable;
using InferenceService.Compute;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Reads the fields of config.json that the supported families share. Field names and meanings follow Hugging Face.</summary>
internal static class DecoderConfig
{
    private const int MaxLayers = 1024;

    /// <summary>Elements of K that one token takes in all layers; keeps every size derived from it inside 32 bits.</summary>
    private const int MaxKeyElements = 1 << 22;

    /// <summary>Reads and checks a whole config.json.</summary>
    /// <exception cref="CheckpointException">A field is missing, out of range, or asks for something not supported.</exception>
    public static ModelConfig Read(ConfigJson json, DecoderDefaults defaults)
    {
        int hidden = json.Int("hidden_size", 1, 1 << 17), heads = json.Int("num_attention_heads", 1, 1024);
        int layers = json.Int("num_hidden_layers", 1, MaxLayers);
        int headDim = HeadDim(json, defaults, hidden, heads);
        ImmutableArray<bool> usesRope = UsesRope(json, defaults, layers);
        RopeConfig rope = RopeJson.Read(json, defaults, headDim, out int maxPositions);
        CheckActivation(json);
        int kvHeads = KvHeads(json, defaults, heads);
        if ((long)layers * kvHeads * headDim > MaxKeyElements)
            throw json.Error("num_hidden_layers", $"({layers}) · KV heads ({kvHeads}) · head size ({headDim}) exceeds {MaxKeyElements}");
        return new ModelConfig
        {
            Architecture = "",
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            IntermediateSize = json.Int("intermediate_size", 1, 1 << 20),
            VocabularySize = json.Int("vocab_size", 1, 1 << 24),
            MaxPositions = maxPositions,
            RmsNormEpsilon = (float)(json.OptionalNumber("rms_norm_eps", 0, 1) ?? defaults.RmsNormEpsilon),
            Rope = rope,
            Windows = Windows(json, defaults, layers, usesRope),
            UsesRope = usesRope,
            AttentionBias = json.OptionalFlag("attention_bias") ?? false,
            MlpBias = json.OptionalFlag("mlp_bias") ?? false,
            TiedEmbeddings = json.OptionalFlag("tie_word_embeddings") ?? defaults.TiedEmbeddings,
            StatedType = StatedType(json),
        };
    }

    private static int HeadDim(ConfigJson json, DecoderDefaults defaults, int hidden, int heads)
    {
        int? stated = json.OptionalInt("head_dim", 2, 1024) ?? defaults.HeadDim;
        if (stated is null && (hidden % heads != 0 || hidden / heads is < 2 or > 1024))
            throw json.Error("hidden_size", $"is {hidden}; allowed without head_dim: 2 to 1024 times num_attention_heads ({heads})");
        return stated ?? hidden / heads;
    }

    private static int KvHeads(ConfigJson json, DecoderDefaults defaults, int heads)
    {
        int? absent = json.Mentions("num_key_value_heads") ? null : defaults.KvHeads;
        int kvHeads = json.OptionalInt("num_key_value_heads", 1, heads) ?? absent ?? heads;
        return heads % kvHeads == 0
            ? kvHeads
            : throw json.Error("num_key_value_heads", $"is {kvHeads}; allowed: divisors of num_attention_heads ({heads})");
    }

    private static ImmutableArray<bool> UsesRope(ConfigJson json, DecoderDefaults defaults, int layers)
    {
        if (defaults.NoRopeInterval == 0)
            return [.. Enumerable.Repeat(true, layers)];
        if (json.OptionalInts("no_rope_layers", 0, 1, MaxLayers) is { Length: > 0 } listed) // 1 = rotates, whatever the name says
        {
            return listed.Length >= layers
                ? [.. listed.Take(layers).Select(entry => entry == 1)]
                : throw json.Error("no_rope_layers", $"has {listed.Length} entries; allowed: one for each of {layers} layers");
        }

        int interval = json.OptionalInt("no_rope_layer_interval", 1, MaxLayers) ?? defaults.NoRopeInterval;
        return [.. Enumerable.Range(1, layers).Select(layer => layer % interval != 0)];
    }

    private static ImmutableArray<int> Windows(ConfigJson json, DecoderDefaults defaults, int layers, ImmutableArray<bool> usesRope)
    {
        int? absent = json.Mentions("sliding_window") ? null : defaults.SlidingWindow;
        int window = json.OptionalInt("sliding_window", 1, int.MaxValue) ?? absent ?? 0;
        bool optedIn = defaults.Windows == WindowRule.EveryLayer || (json.OptionalFlag("use_sliding_window") ?? false);
        if (window == 0 || !optedIn || defaults.Windows == WindowRule.None)
            return [.. new int[layers]];
        if (json.OptionalTexts("layer_types", MaxLayers) is { } types)
            return FromLayerTypes(json, types, layers, window);
        int first = json.OptionalInt("max_window_layers", 0, int.MaxValue) ?? defaults.MaxWindowLayers;
        return
        [
            .. Enumerable.Range(0, layers).Select(layer => defaults.Windows switch
            {
                WindowRule.UpperLayers => layer >= first,
                WindowRule.LayersWithoutRope => !usesRope[layer],
                _ => true,
            }
                ? window
                : 0),
        ];
    }

    private static ImmutableArray<int> FromLayerTypes(ConfigJson json, ImmutableArray<string> types, int layers, int window)
    {
        if (types.Length != layers)
            throw json.Error("layer_types", $"has {types.Length} entries; allowed: one for each of {layers} layers");
        return
        [
            .. types.Select(type => type switch
            {
                "full_attention" => 0,
                "sliding_attention" => window,
                _ => throw json.Error("layer_types", $"has {Quote.Value(type)}; allowed: full_attention, sliding_attention"),
            }),
        ];
    }

    private static void CheckActivation(ConfigJson json)
    {
        if (json.OptionalText("hidden_act") is { } name && name is not ("silu" or "swish"))
            throw json.Error("hidden_act", $"is {Quote.Value(name)}; allowed: silu");
    }

    private static DType? StatedType(ConfigJson json) => (json.OptionalText("dtype") ?? json.OptionalText("torch_dtype")) switch
    {
        "bfloat16" => DType.BF16,
        "float16" => DType.F16,
        "float32" => DType.F32,
        _ => null,
    };
}
