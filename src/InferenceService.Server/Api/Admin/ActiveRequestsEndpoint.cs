using System.Text.Json;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting.Admin;

namespace InferenceService.Server.Api.Admin;

/// <summary><c>GET /admin/requests</c> and <c>DELETE /admin/requests/{id}</c>: ids, states, ages and counts, never text.</summary>
internal sealed class ActiveRequestsEndpoint(AdminParts parts)
{
    private static readonly ApiError Unknown = new(404, "invalid_request_error", "not_found", "No request of this id is under way.", "id");

    /// <summary>Everything under way, the oldest first.</summary>
    public Task ListAsync(HttpContext http) => JsonBody.WriteAsync(http, json =>
    {
        json.WriteStartObject();
        json.WriteString("object", "list");
        json.WriteStartArray("data");
        foreach (ActiveRequest request in parts.Requests.All)
            Write(json, request);
        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <summary>Ends one; its client is told so.</summary>
    public Task EndAsync(HttpContext http)
    {
        string id = http.Request.RouteValues["id"] as string ?? "";
        if (!parts.Requests.TryEnd(id))
            return OpenAiError.WriteAsync(http, Unknown);
        AdminAudit.Note(http, "request ended");
        return JsonBody.WriteAsync(http, json =>
        {
            json.WriteStartObject();
            json.WriteString("id", id);
            json.WriteBoolean("cancelled", true);
            json.WriteEndObject();
        });
    }

    private void Write(Utf8JsonWriter json, ActiveRequest request)
    {
        Usage usage = request.Generation.Usage;
        json.WriteStartObject();
        json.WriteString("id", request.Id);
        json.WriteString("request_id", request.RequestId);
        json.WriteString("operation", request.Operation);
        json.WriteString("model", request.Model);
        json.WriteString("key", request.Key);
        json.WriteString("state", request.State);
        json.WriteBoolean("stream", request.Stream);
        json.WriteNumber("age_seconds", Math.Round(parts.Time.GetElapsedTime(request.Arrived).TotalSeconds, 3));
        json.WriteNumber("prompts", request.Order.Prompts.Count);
        json.WriteNumber("choices", request.Order.ChoicesPerPrompt);
        json.WriteNumber("prompt_tokens", usage.Prompt);
        json.WriteNumber("cached_tokens", usage.Cached);
        json.WriteNumber("generated_tokens", usage.Completion);
        json.WriteNumber("max_tokens", request.Order.Requests[0].MaxTokens);
        json.WriteNumber("priority", request.Order.Requests[0].Priority);
        json.WriteString("kv_policy", request.Policy);
        json.WriteEndObject();
    }
}
