using System.Text.Json;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;

namespace InferenceService.Server.Api.Admin;

/// <summary><c>GET /admin/kv-policies</c> and <c>PUT /admin/models/{id}/kv-policy</c>: the policy of requests that choose none.</summary>
internal sealed class KvPolicyEndpoints(AdminParts parts)
{
    private const string Suffix = "/kv-policy";

    /// <summary>Of every model: the default, and what requests may choose with which options.</summary>
    public Task ListAsync(HttpContext http) => JsonBody.WriteAsync(http, json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("models");
        foreach (ServedModel model in parts.Catalog.Models)
        {
            json.WriteStartObject();
            json.WriteString("id", model.Names[0]);
            json.WritePropertyName("kv_policy");
            model.Policies.WriteDefault(json);
            json.WriteStartArray("policies");
            foreach (string name in model.Policies.Names)
                Write(json, KvPolicyRegistry.Find(name)!);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <summary>Changes a model's default, within its layout, allow list and bounds; requests under way keep theirs.</summary>
    public async Task ChangeAsync(HttpContext http)
    {
        // Ids hold slashes, raw or as %2F, which routing leaves as it is.
        string rest = (http.Request.RouteValues["rest"] as string ?? "").Replace("%2F", "/", StringComparison.OrdinalIgnoreCase).TrimEnd('/');
        if (!rest.EndsWith(Suffix, StringComparison.Ordinal))
        {
            http.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }

        string id = rest[..^Suffix.Length];
        if (parts.Catalog.Find(id) is not { } model)
        {
            await OpenAiError.WriteAsync(http, ApiError.ModelNotFound(id));
            return;
        }

        using RequestBody body = await parts.Bodies.ReadAsync(http.Request, http.RequestAborted);
        ApiError? error = body.Error;
        string before = Describe(model.Policies.Default);
        if (error is null)
        {
            KvPolicyField wanted = KvPolicyField.Parse(body.Root, out string problem) ?? KvPolicyField.Wrong(problem);
            error = model.Policies.ChangeDefault(wanted);
        }

        if (error is not null)
        {
            await OpenAiError.WriteAsync(http, error);
            return;
        }

        AdminAudit.Note(http, $"{before} to {Describe(model.Policies.Default)}");
        await JsonBody.WriteAsync(http, json =>
        {
            json.WriteStartObject();
            json.WriteString("id", model.Names[0]);
            json.WritePropertyName("kv_policy");
            model.Policies.WriteDefault(json);
            json.WriteEndObject();
        });
    }

    private static string Describe(IKvPolicy policy) => policy.Settings.Length == 0 ? policy.Name : $"{policy.Name}({policy.Settings})";

    private static void Write(Utf8JsonWriter json, KvPolicyKind kind)
    {
        json.WriteStartObject();
        json.WriteString("name", kind.Name);
        json.WriteStartArray("options");
        foreach (KvPolicyOption option in kind.Options)
        {
            json.WriteStartObject();
            json.WriteString("name", option.Name);
            json.WriteString("meaning", option.Meaning);
            json.WriteString("range", option.Range);
            json.WriteString("default", option.Default is { } value ? option.Format(value) : "auto");
            json.WriteString("unit", option.Unit);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }
}
