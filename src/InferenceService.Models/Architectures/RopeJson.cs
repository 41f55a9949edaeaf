using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Reads the rotary embedding: <c>rope_theta</c> and <c>rope_scaling</c>, or the newer <c>rope_parameters</c> that holds both.</summary>
internal static class RopeJson
{
    private const int MaxContext = 1 << 28;
    private const double MaxFactor = 1 << 16;

    /// <summary>Reads and checks it.</summary>
    /// <param name="json">config.json.</param>
    /// <param name="defaults">What the family assumes.</param>
    /// <param name="headDim">Elements a head.</param>
    /// <param name="maxPositions">Context with the scaling rule applied.</param>
    public static RopeConfig Read(ConfigJson json, DecoderDefaults defaults, int headDim, out int maxPositions)
    {
        int stated = json.OptionalInt("max_position_embeddings", 1, MaxContext) ?? defaults.MaxPositions;
        ConfigJson? given = json.OptionalObject("rope_parameters") ?? json.OptionalObject("rope_scaling");
        if (given is { } perLayer && (perLayer.HasObject("full_attention") || perLayer.HasObject("sliding_attention")))
            throw json.Error("rope_parameters", "differs by layer type, which is not supported");
        ConfigJson parameters = given ?? json;
        double theta = (given?.OptionalNumber("rope_theta", MinTheta, MaxTheta) ?? json.OptionalNumber("rope_theta", MinTheta, MaxTheta))
            ?? defaults.Theta;
        int rotaryDim = RotaryDim(json, parameters, headDim);
        string kind = given is null ? "default" : Kind(parameters, defaults);
        if (kind == "default")
        {
            maxPositions = stated;
            return new RopeConfig { Theta = theta, RotaryDim = rotaryDim };
        }

        int original = (parameters.OptionalInt("original_max_position_embeddings", 2, MaxContext)
            ?? json.OptionalInt("original_max_position_embeddings", 2, MaxContext)
            ?? defaults.OriginalMaxPositions) ?? stated;
        RopeScaling scaling = Scaling(json, parameters, kind, original, stated, rotaryDim);
        maxPositions = Stretched(json, scaling, stated);
        return new RopeConfig { Theta = theta, RotaryDim = rotaryDim, Scaling = scaling };
    }

    private const double MinTheta = 1.001, MaxTheta = 1e15;

    private static int RotaryDim(ConfigJson json, ConfigJson parameters, int headDim)
    {
        double part = parameters.OptionalNumber("partial_rotary_factor", 0, 1) ?? json.OptionalNumber("partial_rotary_factor", 0, 1) ?? 1;
        int rotaryDim = (int)(headDim * part);
        return rotaryDim >= 2 && rotaryDim % 2 == 0
            ? rotaryDim
            : throw json.Error("partial_rotary_factor", $"rotates {rotaryDim} of {headDim} elements of a head; allowed: an even number above 0");
    }

    private static string Kind(ConfigJson parameters, DecoderDefaults defaults)
    {
        string kind = parameters.OptionalText("rope_type") ?? parameters.OptionalText("type") ?? "default";
        return kind switch
        {
            "su" => RopeScaling.LongRope,
            RopeScaling.Yarn when defaults.YarnMeansLongRope => RopeScaling.LongRope,
            "default" or RopeScaling.Linear or RopeScaling.Dynamic or RopeScaling.Llama3 or RopeScaling.Yarn or RopeScaling.LongRope => kind,
            _ => throw parameters.Error("rope_type", $"is {Quote.Value(kind)}; allowed: default, linear, dynamic, llama3, yarn, longrope"),
        };
    }

    private static RopeScaling Scaling(ConfigJson json, ConfigJson parameters, string kind, int original, int stated, int rotaryDim)
    {
        double factor = parameters.OptionalNumber("factor", 1, MaxFactor) ?? ((kind, parameters.Has("factor")) switch
        {
            (RopeScaling.LongRope or RopeScaling.Yarn, _) => Math.Clamp((double)stated / original, 1, MaxFactor),
            _ => throw parameters.Error("factor", "is missing"),
        });
        var common = new RopeScaling { Kind = kind, Factor = factor, OriginalMaxPositions = original };
        switch (kind)
        {
            case RopeScaling.Dynamic when rotaryDim < 4:
                throw json.Error("head_dim", $"rotates {rotaryDim} elements; dynamic rope scaling needs at least 4");
            case RopeScaling.Llama3:
                return Llama3(parameters, common);
            case RopeScaling.Yarn:
                return common with
                {
                    AttentionFactor = parameters.OptionalNumber("attention_factor", 0, 1000),
                    BetaFast = Positive(parameters.OptionalNumber("beta_fast", 0, 1e6)),
                    BetaSlow = Positive(parameters.OptionalNumber("beta_slow", 0, 1e6)),
                    MScale = parameters.OptionalNumber("mscale", 0, 1000),
                    MScaleAllDim = parameters.OptionalNumber("mscale_all_dim", 0, 1000),
                    Truncate = parameters.OptionalFlag("truncate") ?? true,
                };
            case RopeScaling.LongRope:
                return common with
                {
                    AttentionFactor = parameters.OptionalNumber("attention_factor", 0, 1000),
                    Factor = json.Has("original_max_position_embeddings") ? Math.Max(1, (double)stated / original) : factor,
                    ShortFactors = parameters.Numbers("short_factor", 1e-3, 1e6, rotaryDim / 2),
                    LongFactors = parameters.Numbers("long_factor", 1e-3, 1e6, rotaryDim / 2),
                };
            default:
                return common;
        }
    }

    private static RopeScaling Llama3(ConfigJson parameters, RopeScaling common)
    {
        double low = parameters.OptionalNumber("low_freq_factor", 1e-3, 1e6) ?? throw parameters.Error("low_freq_factor", "is missing");
        double high = parameters.OptionalNumber("high_freq_factor", 1e-3, 1e6) ?? throw parameters.Error("high_freq_factor", "is missing");
        if (high <= low)
            throw parameters.Error("high_freq_factor", FormattableString.Invariant($"is {high}; allowed: above low_freq_factor ({low})"));
        return common with { LowFrequencyFactor = low, HighFrequencyFactor = high };
    }

    /// <summary>Zero means "use the default" to the reference implementation.</summary>
    private static double? Positive(double? value) => value > 0 ? value : null;

    /// <summary>
    /// linear, dynamic and yarn multiply a context that config.json states unstretched; llama3 and longrope checkpoints state the
    /// stretched one. (The rule that vLLM applies, so that the same checkpoint has the same context there and here.)
    /// </summary>
    private static int Stretched(ConfigJson json, RopeScaling scaling, int stated)
    {
        double context = scaling.Kind switch
        {
            RopeScaling.Linear or RopeScaling.Dynamic => stated * scaling.Factor,
            RopeScaling.Yarn => scaling.OriginalMaxPositions!.Value * scaling.Factor,
            _ => stated,
        };
        return context <= MaxContext
            ? (int)context
            : throw json.Error("max_position_embeddings", FormattableString.Invariant($"times its rope scaling is {context}; allowed: up to {MaxContext}"));
    }
}
