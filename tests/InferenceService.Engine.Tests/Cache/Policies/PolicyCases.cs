using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>Every policy of the registry, with settings small enough to bite on a short prompt: as computed, packed, and over shared caches.</summary>
internal static class PolicyCases
{
    private static readonly int[] Looped = [0, 2, 2, 3];
    private static readonly int[] Downwards = [0, 0, 2, 2];

    private static readonly PolicyCase[] Cases =
    [
        new("full", "full", ""),
        new("stream", "streaming-llm", "sink_tokens=3 recent_tokens=9"),
        new("stream without sinks", "streaming-llm", "sink_tokens=0 recent_tokens=8"),
        new("stream with wide sinks", "streaming-llm", "sink_tokens=5 recent_tokens=3"),
        new("all lazy", "sim-layer-kv", "lazy_threshold=-1 sink_tokens=3 recent_tokens=9 observed_tokens=5"),
        new("half lazy", "sim-layer-kv", "mode=share sink_tokens=2 recent_tokens=6 observed_tokens=6"),
        new("half lazy, growing", "sim-layer-kv", "mode=share sink_tokens=2 recent_tokens=6 observed_tokens=4 slide=false"),
        new("lazy later", "sim-layer-kv", "mode=share sink_tokens=3 recent_tokens=43 observed_tokens=3"),
        new("heads", "fast-gen", "recovery_target=0.6 profile_tokens=8 local_share=0.2 frequent_share=0.2 sink_tokens=1 protected_window_size=2"),
        new("heads, growing little", "fast-gen", "recovery_target=0.5 profile_tokens=5 local_share=0.1 frequent_share=0.3 budget_grows=false"),
        new("heads by the whole prompt", "fast-gen", "recovery_target=0.7 profile_tokens=0 sink_tokens=0"),
        new("each of the heads", "fast-gen", "gqa=min recovery_target=0.5 profile_tokens=8 local_share=0.2 frequent_share=0.2 sink_tokens=1 protected_window_size=2"),
        new("special heads", "fast-gen", "recovery_target=0 profile_tokens=4"),

        new("shared", "lckv", "") { KvSources = Looped },
        new("shared downwards", "lckv", "") { KvSources = Downwards },
        new("shared, sliding", "lckv", "") { KvSources = Looped, Windows = [6, 0, 0, 11] },
        new("shared stream", "streaming-llm", "sink_tokens=3 recent_tokens=9") { KvSources = Looped },
        new("shared, half lazy", "sim-layer-kv", "mode=share sink_tokens=2 recent_tokens=6 observed_tokens=6") { KvSources = Looped },
        new("shared heads", "fast-gen", "recovery_target=0.6 profile_tokens=8 local_share=0.2 frequent_share=0.2") { KvSources = Looped },

        new("full in 4 bits", "full", "key_bits=4"),
        new("full in 8 bits", "full", "key_bits=8 residual_tokens=64"),
        new("stream in 4 bits", "streaming-llm", "sink_tokens=4 recent_tokens=70 key_bits=4"),
        new("stream in 8 bits", "streaming-llm", "sink_tokens=0 recent_tokens=70 key_bits=8"),
        new("half lazy in 4 bits", "sim-layer-kv", "mode=share sink_tokens=3 recent_tokens=70 observed_tokens=9 key_bits=4"),
        new("all lazy in 4 bits", "sim-layer-kv", "lazy_threshold=-1 sink_tokens=3 recent_tokens=70 observed_tokens=9 slide=false key_bits=4"),
        new("lazy later in 4 bits", "sim-layer-kv", "mode=share sink_tokens=3 recent_tokens=100 observed_tokens=9 key_bits=4"),
        new("heads in 4 bits", "fast-gen", "recovery_target=0.6 profile_tokens=16 key_bits=4"),
        new("special heads in 4 bits", "fast-gen", "recovery_target=0 profile_tokens=4 key_bits=4"),
        new("few heads in 4 bits", "fast-gen", "recovery_target=0.05 profile_tokens=4 key_bits=4"),
        new("heads by the whole prompt in 8 bits", "fast-gen", "recovery_target=0.95 profile_tokens=0 key_bits=8"),
        new("each of the heads in 4 bits", "fast-gen", "gqa=min recovery_target=0.5 profile_tokens=8 local_share=0.2 frequent_share=0.2 key_bits=4"),

        new("shared in 4 bits", "lckv", "key_bits=4") { KvSources = Looped },
        new("shared, sliding, in 8 bits", "lckv", "key_bits=8") { KvSources = Downwards, Windows = [70, 70, 0, 0] },
        new("shared stream in 4 bits", "streaming-llm", "sink_tokens=4 recent_tokens=70 key_bits=4") { KvSources = Looped },
        new("shared heads in 4 bits", "fast-gen", "recovery_target=0.6 profile_tokens=16 key_bits=4") { KvSources = Downwards },
    ];

    private static readonly PolicyCase[] NeutralCases =
    [
        new("full", "full", ""),
        new("a window for everything", "streaming-llm", "sink_tokens=3 recent_tokens=1000"),
        new("nothing passes the threshold", "sim-layer-kv", "lazy_threshold=2 sink_tokens=3 recent_tokens=9"),
        new("a full share", "sim-layer-kv", "mode=share full_share=1 sink_tokens=3 recent_tokens=9"),
        new("lazy but short", "sim-layer-kv", "lazy_threshold=-1 recent_tokens=1000"),
        new("everything recovered", "fast-gen", "recovery_target=1"),
        new("shared", "lckv", "") { KvSources = Looped },
        new("shared, a window for everything", "streaming-llm", "sink_tokens=3 recent_tokens=1000") { KvSources = Looped },
        new("shared, a full share", "sim-layer-kv", "mode=share full_share=1 sink_tokens=3 recent_tokens=9") { KvSources = Looped },
        new("shared, everything recovered", "fast-gen", "recovery_target=1") { KvSources = Downwards },
        new("16 bits", "full", "key_bits=16") { PoolBits = 4 },
        new("16 bits of everything recovered", "fast-gen", "recovery_target=1 key_bits=16") { PoolBits = 8 },
        new("a residual of everything", "full", "key_bits=4 residual_tokens=1024"),
        new("a residual of a window for everything", "streaming-llm", "sink_tokens=3 recent_tokens=1000 key_bits=4 residual_tokens=1024"),
        new("a residual of a full share", "sim-layer-kv", "mode=share full_share=1 recent_tokens=9 key_bits=8 residual_tokens=1024"),
        new("a residual of shared caches", "lckv", "key_bits=4 residual_tokens=1024") { KvSources = Looped },
    ];

    /// <summary>Ids that count as special and as punctuation.</summary>
    public static TokenClasses Classes { get; } = new([0, 1], [2, 3, 4, 5, 6, 7, 8, 9]);

    /// <summary>Labels of the unpacked cases that any checkpoint can have.</summary>
    public static IEnumerable<string> Labels => Cases.Where(one => one.KvSources is null && one.PoolBits == 0).Select(one => one.Label);

    /// <summary>The same, for theories.</summary>
    public static TheoryData<string> All => [.. Labels];

    /// <summary>Every case with kv heads that 1, 2 and 4 of the 4 query heads share.</summary>
    public static TheoryData<string, int> Grouped => WithHeads(Cases);

    /// <summary>The same of the cases that may keep everything only.</summary>
    public static TheoryData<string, int> Neutral => WithHeads(NeutralCases);

    /// <summary>Names of the policies.</summary>
    public static IEnumerable<string> Policies => Cases.Select(one => one.Policy).Distinct();

    /// <summary>A case.</summary>
    public static PolicyCase Of(string label) => Cases.Single(one => one.Label == label);

    /// <summary>A case that may keep everything only.</summary>
    public static PolicyCase NeutralOf(string label) => NeutralCases.Single(one => one.Label == label);

    /// <summary>Cases that may stand in one batch: of one checkpoint and one pool.</summary>
    public static IEnumerable<PolicyCase> Beside(PolicyCase one) =>
        Cases.Where(other => other.PoolBits == one.PoolBits && ReferenceEquals(other.KvSources, one.KvSources) && ReferenceEquals(other.Windows, one.Windows));

    /// <summary>The policy of a case.</summary>
    public static IKvPolicy Create(string label) => (Array.Find(Cases, one => one.Label == label) ?? NeutralOf(label)).Create();

    private static TheoryData<string, int> WithHeads(PolicyCase[] cases)
    {
        var data = new TheoryData<string, int>();
        foreach (PolicyCase one in cases)
            foreach (int kvHeads in (int[])[4, 2, 1])
                data.Add(one.Label, kvHeads);
        return data;
    }
}
