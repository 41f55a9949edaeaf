using System.Diagnostics.CodeAnalysis;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Requests;

/// <summary>The field <c>model</c>: which of the served models a request is for.</summary>
internal static class ModelField
{
    /// <summary>Looks the model up. It may be left out when exactly one is served.</summary>
    /// <param name="name">The name the client used, which answers repeat.</param>
    public static bool TryFind(FieldReader json, IModelCatalog models, [NotNullWhen(true)] out ServedModel? model, out string name, out ApiError? error)
    {
        name = "";
        model = null;
        error = null;
        string? asked = json.Text("model");
        if (json.Problems.Any)
        {
            error = json.Problems.ToError();
            return false;
        }

        model = models.Find(asked);
        if (model is not null)
            name = asked ?? model.Names[0];
        else if (!models.IsLoaded)
            error = ServerLifecycle.ModelLoading;
        else if (asked is null)
            error = new ApiError(400, "invalid_request_error", "missing_required_parameter", "model is required, since several models are served.", "model");
        else
            error = ApiError.ModelNotFound(asked);
        return model is not null;
    }
}
