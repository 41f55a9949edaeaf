using InferenceService.Engine.Cache.Policies;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Requests;

/// <summary>Which KV policy a request chooses, by its body or by a header.</summary>
internal static class PolicyChoice
{
    /// <summary>Names a policy: in requests, for clients that cannot add fields to the body; in answers, the policy in force.</summary>
    internal const string Header = "x-inference-kv-policy";

    /// <summary>The fields with the policy of the body, else of the header, else the model's; one that cannot be had is a problem.</summary>
    public static GenerationFields Apply(HttpRequest request, GenerationFields fields, PolicyMenu menu, Problems problems)
    {
        KvPolicyField? wanted = fields.KvPolicy;
        string? header = request.Headers[Header];
        if (wanted is null && !string.IsNullOrEmpty(header))
            wanted = KvPolicyField.Named(header);
        if (wanted is null)
            return fields with { ChosenPolicy = menu.Default };
        IKvPolicy? policy = menu.Choose(wanted, out ApiError? error);
        if (error is not null)
            problems.Add(error);
        return fields with { ChosenPolicy = policy };
    }
}
