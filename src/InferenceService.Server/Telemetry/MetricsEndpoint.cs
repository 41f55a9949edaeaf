using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Security;

namespace InferenceService.Server.Telemetry;

/// <summary><c>GET /metrics</c>.</summary>
internal static class MetricsEndpoint
{
    private const int InitialBytes = 128 * 1024;
    private static readonly string[] Read = ["GET", "HEAD"];

    /// <summary>Maps the route.</summary>
    /// <param name="open">Needs no key.</param>
    public static void MapMetrics(this IEndpointRouteBuilder routes, bool open) =>
        routes.MapMethods("/metrics", Read, WriteAsync)
            .WithMetadata(open ? RouteAccess.Open : RouteAccess.Metrics).AsProbe().WithTags("Health").WithSummary("Metrics in Prometheus text format.");

    private static async Task WriteAsync(HttpContext http, MetricsPage page)
    {
        using var buffer = new PooledBuffer(InitialBytes);
        page.Write(buffer);
        http.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        http.Response.ContentLength = buffer.Count;
        if (!HttpMethods.IsHead(http.Request.Method))
            await http.Response.Body.WriteAsync(buffer.Written, http.RequestAborted);
    }
}
