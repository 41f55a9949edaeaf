using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Server.Api.Requests;

/// <summary>The header that names a KV policy, for clients that cannot add fields to the body.</summary>
internal static class KvPolicyHeader
{
    /// <summary>Its name.</summary>
    internal const string Name = "inference-kv-policy";

    /// <summary>The policy of the body, else of the header, else none; an unknown one is a problem.</summary>
    public static GenerationFields Apply(HttpRequest request, GenerationFields fields, Problems problems)
    {
        string? name = request.Headers[Name];
        if (string.IsNullOrEmpty(name) || fields.KvPolicy is not null)
            return fields;
        if (KvPolicyRegistry.Find(name) is not null)
            return fields with { KvPolicy = name };
        problems.Add(new ApiError(
            400, "invalid_request_error", "kv_policy_not_allowed",
            $"The header {Name} must be one of {string.Join(", ", KvPolicyRegistry.Names)}, got \"{JsonNumber.Clean(name)}\".", "kv_policy"));
        return fields;
    }
}
