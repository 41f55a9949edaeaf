using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;

namespace InferenceService.Server.Api.Health;

/// <summary><c>/health /live /ready /ping /version /load</c>.</summary>
internal static class HealthEndpoints
{
    private static readonly string[] Read = ["GET", "HEAD"];

    /// <summary>Maps the routes. Probes and version need no key.</summary>
    public static void Map(IEndpointRouteBuilder routes, HealthState health, IModelCatalog catalog, ServerLifecycle lifecycle)
    {
        Probe(routes, "/health", () => health.Health).WithMetadata(RouteAccess.Open).WithSummary("Whether the engine is alive and loaded.");
        Probe(routes, "/v1/health", () => health.Health).ExcludeFromDescription();
        Probe(routes, "/ping", () => health.Health).ExcludeFromDescription();
        Probe(routes, "/live", () => health.Liveness).WithMetadata(RouteAccess.Open).WithSummary("Whether the process should go on; never depends on load.");
        Probe(routes, "/ready", () => health.Readiness).WithMetadata(RouteAccess.Open).WithSummary("Whether new requests should be sent here.");
        routes.MapMethods("/version", Read, (HttpContext context) => JsonBody.WriteAsync(context, json =>
        {
            json.WriteStartObject();
            json.WriteString("version", ServerVersion.Text);
            json.WriteString("commit", ServerVersion.Commit);
            json.WriteString("runtime", ServerVersion.Runtime);
            json.WriteEndObject();
        })).WithMetadata(RouteAccess.Open).WithTags("Health").WithSummary("Version, commit and runtime of this build.");
        routes.MapMethods("/load", Read, (HttpContext context) => WriteLoadAsync(context, catalog, lifecycle))
            .WithMetadata(RouteAccess.Metrics).WithTags("Health").WithSummary("Requests under way and how full the engine is.");
    }

    private static IEndpointConventionBuilder Probe(IEndpointRouteBuilder routes, string path, Func<ApiError?> question) =>
        routes.MapMethods(path, Read, (HttpContext context) => question() is { } error ? OpenAiError.WriteAsync(context, error) : Task.CompletedTask)
            .WithTags("Health");

    private static Task WriteLoadAsync(HttpContext context, IModelCatalog catalog, ServerLifecycle lifecycle)
    {
        int running = 0, waiting = 0;
        long used = 0, total = 0;
        foreach (ServedModel model in catalog.Models)
        {
            EngineStatistics statistics = model.Engine.Statistics;
            running += statistics.Running;
            waiting += statistics.Waiting;
            used += statistics.BlocksUsed;
            total += statistics.BlocksTotal;
        }

        return JsonBody.WriteAsync(context, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("server_load", lifecycle.InFlight);
            json.WriteNumber("running", running);
            json.WriteNumber("waiting", waiting);
            json.WriteNumber("kv_cache_usage", total == 0 ? 0 : Math.Round(used / (double)total, 6));
            json.WriteEndObject();
        });
    }
}
