using InferenceService.Engine.Cache.Policies;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Requests;

/// <summary>The header that names a KV policy: in requests, for clients that cannot add fields to the body; in answers, the policy in force.</summary>
internal static class KvPolicyHeader
{
    /// <summary>Its name.</summary>
    internal const string Name = "x-inference-kv-policy";

    /// <summary>The fields with the policy of the body, else of the header, else the model's; one that cannot be had is a problem.</summary>
    public static GenerationFields Apply(HttpRequest request, GenerationFields fields, PolicyMenu menu, Problems problems)
    {
        KvPolicyField? wanted = fields.KvPolicy;
        string? header = request.Headers[Name];
        if (wanted is null && !string.IsNullOrEmpty(header))
            wanted = KvPolicyField.Named(header);
        if (wanted is null)
            return fields;
        IKvPolicy? policy = menu.Choose(wanted, out ApiError? error);
        if (error is not null)
            problems.Add(error);
        return fields with { ChosenPolicy = policy };
    }
}
