using System.Collections.Frozen;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>Every KV policy by the name that configuration and requests use: the index a reader looks for.</summary>
public static class KvPolicyRegistry
{
    private static readonly FrozenDictionary<string, KvPolicyKind> Policies = new[]
    {
        FullKvPolicy.Kind,
        LckvPolicy.Kind,
        StreamingLlmPolicy.Kind,
        SimLayerKvPolicy.Kind,
        FastGenPolicy.Kind,
    }.ToFrozenDictionary(kind => kind.Name, StringComparer.Ordinal);

    /// <summary>All names, sorted.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Policies.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The policy of that name, without option values; null when there is none.</summary>
    public static KvPolicyKind? Find(string name) => Policies.GetValueOrDefault(name);

    /// <summary>A policy with its option values.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="values">Option values by name, as JSON or configuration spell them; those not named take their defaults. Null = all defaults.</param>
    /// <exception cref="KvPolicyException">The name or an option is unknown, or a value lies outside its range.</exception>
    public static IKvPolicy Create(string name, IReadOnlyDictionary<string, string>? values = null) => Find(name) is KvPolicyKind kind
        ? kind.Create(values)
        : throw new KvPolicyException(null, $"KV policy '{name}' is unknown; known: {string.Join(", ", Names)}.");
}
