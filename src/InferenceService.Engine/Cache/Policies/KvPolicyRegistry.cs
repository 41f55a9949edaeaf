using System.Collections.Frozen;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>Every KV policy by the name that configuration and requests use: the index a reader looks for.</summary>
public static class KvPolicyRegistry
{
    private static readonly FrozenDictionary<string, IKvPolicy> Policies = new IKvPolicy[]
    {
        new FullKvPolicy(),
    }.ToFrozenDictionary(policy => policy.Name, StringComparer.Ordinal);

    /// <summary>All names, sorted.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Policies.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The policy of that name; null when there is none.</summary>
    public static IKvPolicy? Find(string name) => Policies.GetValueOrDefault(name);
}
