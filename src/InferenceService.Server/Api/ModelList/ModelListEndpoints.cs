using System.Text.Json;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;

namespace InferenceService.Server.Api.ModelList;

/// <summary><c>/v1/models</c> and <c>/v1/models/{id}</c>; ids contain slashes, which clients send raw or as %2F.</summary>
internal static class ModelListEndpoints
{
    private static readonly string[] Read = ["GET", "HEAD"];

    /// <summary>Maps the routes, with and without the prefix.</summary>
    public static void MapModelList(this IEndpointRouteBuilder routes)
    {
        foreach (string prefix in (ReadOnlySpan<string>)["/v1", ""])
        {
            RouteHandlerBuilder list = routes.MapMethods($"{prefix}/models", Read, WriteListAsync).WithTags("Models").WithSummary("Models that are served.");
            RouteHandlerBuilder one = routes.MapMethods($"{prefix}/models/{{**id}}", Read, WriteOneAsync).WithTags("Models").WithSummary("One model.");
            if (prefix.Length == 0)
            {
                list.ExcludeFromDescription();
                one.ExcludeFromDescription();
            }
        }
    }

    private static Task WriteListAsync(HttpContext http, IModelCatalog catalog) => JsonBody.WriteAsync(http, json =>
    {
        KeyRights rights = ApiKey.Of(http)?.Rights ?? KeyRights.All;
        json.WriteStartObject();
        json.WriteString("object", "list");
        json.WriteStartArray("data");
        foreach (ServedModel model in catalog.Models.Where(rights.Allows))
        {
            foreach (string name in model.Names)
                Write(json, model, name);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    private static Task WriteOneAsync(HttpContext http, IModelCatalog catalog, string? id)
    {
        // Routing leaves %2F as it is, because it would change the path.
        string wanted = (id ?? "").Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
        ServedModel? model = wanted.Length == 0 ? null : catalog.Find(wanted) ?? catalog.Find(wanted = wanted.TrimEnd('/'));
        if (model is not null && KeyRights.Refuse(http, model, wanted) is { } refusal)
            return OpenAiError.WriteAsync(http, refusal);
        return model is null
            ? OpenAiError.WriteAsync(http, ApiError.ModelNotFound(wanted))
            : JsonBody.WriteAsync(http, json => Write(json, model, wanted));
    }

    private static void Write(Utf8JsonWriter json, ServedModel model, string name)
    {
        json.WriteStartObject();
        json.WriteString("id", name);
        json.WriteString("object", "model");
        json.WriteNumber("created", model.Created.ToUnixTimeSeconds());
        json.WriteString("owned_by", "inference-service");
        json.WriteString("root", model.Names[0]);
        json.WriteNull("parent");
        json.WriteNumber("max_model_len", model.MaxModelLength);
        json.WriteStartArray("permission");
        json.WriteEndArray();
        json.WriteStartArray("kv_policies");
        foreach (string policy in model.Policies.Names)
            json.WriteStringValue(policy);
        json.WriteEndArray();
        json.WritePropertyName("kv_policy");
        model.Policies.WriteDefault(json);
        json.WriteString("quantization", model.Quantization);
        json.WriteString("device", model.Device);
        json.WriteEndObject();
    }
}
