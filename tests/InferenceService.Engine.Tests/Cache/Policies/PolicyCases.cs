using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>Every policy of the registry that an ordinary checkpoint can have, with settings small enough to bite on a prompt of 40 tokens.</summary>
internal static class PolicyCases
{
    private static readonly Dictionary<string, (string Policy, string Values)> Cases = new(StringComparer.Ordinal)
    {
        ["full"] = ("full", ""),
        ["stream"] = ("streaming-llm", "sink_tokens=3 recent_tokens=9"),
        ["stream without sinks"] = ("streaming-llm", "sink_tokens=0 recent_tokens=8"),
        ["stream with wide sinks"] = ("streaming-llm", "sink_tokens=5 recent_tokens=3"),
        ["all lazy"] = ("sim-layer-kv", "lazy_threshold=-1 sink_tokens=3 recent_tokens=9 observed_tokens=5"),
        ["half lazy"] = ("sim-layer-kv", "mode=share sink_tokens=2 recent_tokens=6 observed_tokens=6"),
        ["half lazy, growing"] = ("sim-layer-kv", "mode=share sink_tokens=2 recent_tokens=6 observed_tokens=4 slide=false"),
        ["lazy later"] = ("sim-layer-kv", "mode=share sink_tokens=3 recent_tokens=43 observed_tokens=3"),
        ["heads"] = ("fast-gen", "recovery_target=0.6 profile_tokens=8 local_share=0.2 frequent_share=0.2 sink_tokens=1 protected_window_size=2"),
        ["heads, growing little"] = ("fast-gen", "recovery_target=0.5 profile_tokens=5 local_share=0.1 frequent_share=0.3 budget_grows=false"),
        ["heads by the whole prompt"] = ("fast-gen", "recovery_target=0.7 profile_tokens=0 sink_tokens=0"),
        ["each of the heads"] = ("fast-gen", "gqa=min recovery_target=0.5 profile_tokens=8 local_share=0.2 frequent_share=0.2 sink_tokens=1 protected_window_size=2"),
        ["special heads"] = ("fast-gen", "recovery_target=0 profile_tokens=4"),
    };

    private static readonly Dictionary<string, (string Policy, string Values)> NeutralCases = new(StringComparer.Ordinal)
    {
        ["full"] = ("full", ""),
        ["a window for everything"] = ("streaming-llm", "sink_tokens=3 recent_tokens=1000"),
        ["nothing passes the threshold"] = ("sim-layer-kv", "lazy_threshold=2 sink_tokens=3 recent_tokens=9"),
        ["a full share"] = ("sim-layer-kv", "mode=share full_share=1 sink_tokens=3 recent_tokens=9"),
        ["lazy but short"] = ("sim-layer-kv", "lazy_threshold=-1 recent_tokens=1000"),
        ["everything recovered"] = ("fast-gen", "recovery_target=1"),
    };

    /// <summary>Ids that count as special and as punctuation.</summary>
    public static TokenClasses Classes { get; } = new([0, 1], [2, 3, 4, 5, 6, 7, 8, 9]);

    /// <summary>Cases that drop something, and full.</summary>
    public static IEnumerable<string> Labels => Cases.Keys;

    /// <summary>The same, for theories.</summary>
    public static TheoryData<string> All => [.. Labels];

    /// <summary>Cases that may keep everything only.</summary>
    public static IEnumerable<string> Neutral => NeutralCases.Keys;

    /// <summary>Names of the policies.</summary>
    public static IEnumerable<string> Policies => Cases.Values.Select(one => one.Policy).Distinct();

    /// <summary>The policy of a case.</summary>
    public static IKvPolicy Create(string label)
    {
        (string policy, string values) = Cases.TryGetValue(label, out (string, string) known) ? known : NeutralCases[label];
        return KvPolicyRegistry.Create(policy, values.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(value => value.Split('=')).ToDictionary(value => value[0], value => value[1]));
    }
}
