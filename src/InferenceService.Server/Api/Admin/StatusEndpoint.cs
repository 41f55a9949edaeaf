using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;

namespace InferenceService.Server.Api.Admin;

/// <summary><c>GET /admin/status</c>.</summary>
internal sealed class StatusEndpoint(AdminParts parts)
{
    private readonly long _started = parts.Time.GetTimestamp();

    /// <summary>What the server is doing.</summary>
    public Task WriteAsync(HttpContext http) => JsonBody.WriteAsync(http, json =>
    {
        json.WriteStartObject();
        json.WriteString("state", State);
        json.WriteString("version", ServerVersion.Text);
        json.WriteString("commit", ServerVersion.Commit);
        json.WriteNumber("uptime_seconds", Math.Round(parts.Time.GetElapsedTime(_started).TotalSeconds, 1));
        json.WriteNumber("http_requests", parts.Lifecycle.InFlight);
        json.WriteString("prefix_isolation", parts.Isolation.Mode);
        json.WriteStartArray("models");
        foreach (ServedModel model in parts.Catalog.Models)
            Write(json, model);
        json.WriteEndArray();
        json.WriteEndObject();
    });

    private string State => parts.Lifecycle.Phase switch
    {
        // As after SIGTERM: work is still taken until load balancers have noticed.
        ServerPhase.Ready when parts.Lifecycle.IsDrained => parts.Lifecycle.Refusal is null ? "leaving" : "drained",
        ServerPhase phase => phase.ToString().ToLowerInvariant(),
    };

    private static void Write(Utf8JsonWriter json, ServedModel model)
    {
        EngineStatistics now = model.Engine.Statistics;
        json.WriteStartObject();
        json.WriteString("id", model.Names[0]);
        json.WriteString("engine", model.Engine.State.ToString().ToLowerInvariant());
        json.WriteString("device", model.Device);
        json.WriteNumber("running", now.Running);
        json.WriteNumber("waiting", now.Waiting);
        json.WriteNumber("blocks_total", now.BlocksTotal);
        json.WriteNumber("blocks_used", now.BlocksUsed);
        json.WriteNumber("blocks_cached", now.BlocksCached);
        json.WriteNumber("steps", now.Steps);
        json.WriteNumber("preemptions", now.Preemptions);
        json.WriteNumber("prompt_tokens", now.PromptTokens);
        json.WriteNumber("cached_tokens", now.PrefixHitTokens);
        json.WriteNumber("generated_tokens", now.GeneratedTokens);
        json.WritePropertyName("kv_policy");
        model.Policies.WriteDefault(json);
        json.WriteEndObject();
    }
}
