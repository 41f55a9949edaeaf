using InferenceService.Server.Security;

namespace InferenceService.Server.Telemetry;

/// <summary><c>GET /metrics</c>.</summary>
internal static class MetricsEndpoint
{
    private const int InitialBytes = 64 * 1024;
    private static readonly string[] Read = ["GET", "HEAD"];

    /// <summary>Maps the route.</summary>
    /// <param name="page">What to write.</param>
    /// <param name="open">Needs no key.</param>
    public static void Map(IEndpointRouteBuilder routes, MetricsPage page, bool open) =>
        routes.MapMethods("/metrics", Read, async (HttpContext context) =>
        {
            using var buffer = new PooledBuffer(InitialBytes);
            page.Write(buffer);
            context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            context.Response.ContentLength = buffer.Count;
            if (!HttpMethods.IsHead(context.Request.Method))
                await context.Response.Body.WriteAsync(buffer.Written, context.RequestAborted);
        }).WithMetadata(open ? RouteAccess.Open : RouteAccess.Metrics).WithTags("Health").WithSummary("Metrics in Prometheus text format.");
}
