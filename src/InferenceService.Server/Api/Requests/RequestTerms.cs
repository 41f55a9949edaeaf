using InferenceService.Server.Hosting;
using InferenceService.Server.Security;

namespace InferenceService.Server.Api.Requests;

/// <summary>What headers, the key and the server add to a request's own fields. Every route that generates applies it: without it keys would share prefixes.</summary>
internal sealed class RequestTerms(PrefixIsolation isolation)
{
    /// <summary>The fields under these terms; problems go to the list.</summary>
    public GenerationFields Apply(HttpContext http, GenerationFields fields, ServedModel model, Problems problems)
    {
        fields = PolicyChoice.Apply(http.Request, fields, model.Policies, problems);
        fields = RequestTimeout.Apply(http.Request, fields, problems);
        fields = KeyRights.Apply(http, fields, model, problems);
        return isolation.Apply(http, fields, problems);
    }
}
