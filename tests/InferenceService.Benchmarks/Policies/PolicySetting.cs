using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Benchmarks.Policies;

/// <summary>A KV policy with option values and, beside them, the bits that packed blocks of its pool have (16 = none are packed).</summary>
/// <param name="Name">Policy.</param>
/// <param name="Options">Option values by name.</param>
/// <param name="PackedBits">4, 8, or 0 for none.</param>
internal sealed record PolicySetting(string Name, IReadOnlyDictionary<string, string> Options, int PackedBits)
{
    /// <summary>Short text for tables and legends, and what <see cref="Parse"/> reads.</summary>
    public string Label { get; } = Name
        + (Options.Count == 0 ? "" : ":" + string.Join(',', Options.Select(option => $"{option.Key}={option.Value}")))
        + (PackedBits == 0 ? "" : $"+kv{PackedBits}");

    /// <summary>Everything kept, nothing packed: what all others are held against.</summary>
    public bool IsBaseline => PackedBits == 0 && Name is "full" or "lckv";

    /// <summary>The policy.</summary>
    public IKvPolicy Create() => KvPolicyRegistry.Create(Name, PackedBits == 0 ? Options : new Dictionary<string, string>(Options)
    {
        ["key_bits"] = $"{PackedBits}",
        ["value_bits"] = $"{PackedBits}",
    });

    /// <summary>Reads <c>name:option=value,option=value+kv4</c>; options and packing may be missing.</summary>
    /// <exception cref="KvPolicyException">The policy or an option does not exist, or a value is out of range.</exception>
    public static PolicySetting Parse(string text)
    {
        int bits = text.EndsWith("+kv4", StringComparison.Ordinal) ? 4 : text.EndsWith("+kv8", StringComparison.Ordinal) ? 8 : 0;
        string rest = bits == 0 ? text : text[..^4];
        string[] parts = rest.Split(':', 2);
        var options = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string pair in parts.Length == 1 ? [] : parts[1].Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] sides = pair.Split('=', 2);
            options[sides[0]] = sides.Length == 2 ? sides[1] : throw new KvPolicyException(sides[0], $"'{pair}' is not option=value.");
        }

        var setting = new PolicySetting(parts[0], options, bits);
        setting.Create();
        return setting;
    }

    /// <summary>The baseline, then every policy at three settings, sized for texts of <paramref name="context"/> tokens, then compositions.</summary>
    /// <param name="context">Tokens of a text.</param>
    /// <param name="isCrossLayer">The checkpoint shares caches across layers, so that <c>lckv</c> is its baseline.</param>
    public static IReadOnlyList<PolicySetting> Standard(int context, bool isCrossLayer)
    {
        string plain = isCrossLayer ? "lckv" : "full";
        int quarter = context / 4, eighth = context / 8;
        return
        [
            Parse(plain),
            Parse($"streaming-llm:sink_tokens=4,recent_tokens={context / 2}"),
            Parse($"streaming-llm:sink_tokens=4,recent_tokens={quarter}"),
            Parse($"streaming-llm:sink_tokens=4,recent_tokens={eighth}"),
            Parse($"sim-layer-kv:mode=share,full_share=0.75,sink_tokens=4,recent_tokens={eighth}"),
            Parse($"sim-layer-kv:mode=share,full_share=0.5,sink_tokens=4,recent_tokens={eighth}"),
            Parse($"sim-layer-kv:mode=share,full_share=0.25,sink_tokens=4,recent_tokens={eighth}"),
            Parse("fast-gen:recovery_target=0.98"),
            Parse("fast-gen:recovery_target=0.95"),
            Parse("fast-gen:recovery_target=0.91"),
            Parse($"{plain}+kv8"),
            Parse($"{plain}+kv4"),
            Parse($"{plain}:residual_tokens={eighth}+kv4"),
            Parse($"sim-layer-kv:mode=share,full_share=0.5,sink_tokens=4,recent_tokens={eighth}+kv4"),
            Parse($"streaming-llm:sink_tokens=4,recent_tokens={quarter}+kv4"),
        ];
    }
}
