using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Security;

namespace InferenceService.Server.Api.Health;

/// <summary><c>/health /live /ready /ping /version /load</c>.</summary>
internal static class HealthEndpoints
{
    private static readonly string[] Read = ["GET", "HEAD"];

    /// <summary>Maps the routes. Probes and version need no key.</summary>
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapMethods("/health", Read, static (HttpContext http, HealthState state) => Answer(http, state.Health))
            .WithMetadata(RouteAccess.Open).AsProbe().WithTags("Health").WithSummary("Whether the engine is alive and loaded.");
        foreach (string alias in (string[])["/v1/health", "/ping"])
            routes.MapMethods(alias, Read, static (HttpContext http, HealthState state) => Answer(http, state.Health)).AsProbe().ExcludeFromDescription();
        routes.MapMethods("/live", Read, static (HttpContext http, HealthState state) => Answer(http, state.Liveness))
            .WithMetadata(RouteAccess.Open).AsProbe().WithTags("Health").WithSummary("Whether the process should go on; never depends on load.");
        routes.MapMethods("/ready", Read, static (HttpContext http, HealthState state) => Answer(http, state.Readiness))
            .WithMetadata(RouteAccess.Open).AsProbe().WithTags("Health").WithSummary("Whether new requests should be sent here.");
        routes.MapMethods("/version", Read, (Delegate)WriteVersionAsync)
            .WithMetadata(RouteAccess.Open).AsProbe().WithTags("Health").WithSummary("Version, commit and runtime of this build.");
        routes.MapMethods("/load", Read, static (HttpContext http, IModelCatalog catalog, ServerLifecycle lifecycle) => WriteLoadAsync(http, catalog, lifecycle))
            .WithMetadata(RouteAccess.Metrics).AsProbe().WithTags("Health").WithSummary("Requests under way and how full the engine is.");
    }

    private static Task Answer(HttpContext http, ApiError? error) => error is null ? Task.CompletedTask : OpenAiError.WriteAsync(http, error);

    private static Task WriteVersionAsync(HttpContext http) => JsonBody.WriteAsync(http, json =>
    {
        json.WriteStartObject();
        json.WriteString("version", ServerVersion.Text);
        json.WriteString("commit", ServerVersion.Commit);
        json.WriteString("runtime", ServerVersion.Runtime);
        json.WriteEndObject();
    });

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
