using InferenceService.Engine;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Security;

/// <summary>What requests of one key may ask for. A request that asks for more is refused, never given something else.</summary>
/// <param name="Models">Names of models; empty = all.</param>
/// <param name="KvPolicies">Names of KV policies; empty = all that the model offers.</param>
/// <param name="MaxPriority">The most urgent priority, which is the smallest number; null = any.</param>
internal sealed record KeyRights(IReadOnlyList<string> Models, IReadOnlyList<string> KvPolicies, int? MaxPriority)
{
    /// <summary>Everything.</summary>
    public static KeyRights All { get; } = new([], [], null);

    /// <summary>Whether its requests may use a model, under any of its names.</summary>
    public bool Allows(ServedModel model) => Models.Count == 0 || model.Names.Any(name => Models.Contains(name));

    /// <summary>Why a request's model cannot be had; null = it can.</summary>
    /// <param name="name">As the client calls it.</param>
    public static ApiError? Refuse(HttpContext http, ServedModel model, string name) => ApiKey.Of(http) is { } key && !key.Rights.Allows(model)
        ? Forbidden($"The API key does not cover the model \"{JsonNumber.Clean(name)}\". It covers: {string.Join(", ", key.Rights.Models)}.")
        : null;

    /// <summary>The fields as the request's key has them run: by whom, and how urgent where they do not say. What the key does not cover is a problem.</summary>
    public static GenerationFields Apply(HttpContext http, GenerationFields fields, ServedModel model, Problems problems)
    {
        if (ApiKey.Of(http) is not { } key)
            return fields;
        KeyRights rights = key.Rights;
        string policy = (fields.ChosenPolicy ?? model.Policies.Default).Name;
        if (rights.KvPolicies.Count > 0 && !rights.KvPolicies.Contains(policy))
            problems.Add(Forbidden($"kv_policy: the API key does not cover {policy}. It covers: {string.Join(", ", rights.KvPolicies)}."));
        bool ordered = model.Engine.Options.Scheduling == SchedulingPolicy.Priority; // where not, 0 is the only number there is
        if (ordered && fields.Priority is { } asked && asked < rights.MaxPriority)
            problems.Add(Forbidden($"priority: the API key covers {rights.MaxPriority} and larger (less urgent) numbers, got {asked}."));
        return fields with { Client = key.Client, Weight = key.Weight, UnstatedPriority = ordered ? Math.Max(0, rights.MaxPriority ?? 0) : 0 };
    }

    private static ApiError Forbidden(string message) => new(403, "permission_error", "insufficient_permissions", message);
}
