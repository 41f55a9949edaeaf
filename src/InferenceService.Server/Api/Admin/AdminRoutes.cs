using InferenceService.Server.Hosting.Admin;
using InferenceService.Server.Security;

namespace InferenceService.Server.Api.Admin;

/// <summary>The routes of the admin port. Each needs the scope admin; none of them is ever mapped on the public port.</summary>
internal static class AdminRoutes
{
    private static readonly string[] Read = ["GET", "HEAD"];

    /// <summary>Maps them all.</summary>
    public static void MapAdmin(this IEndpointRouteBuilder routes, AdminParts parts)
    {
        var status = new StatusEndpoint(parts);
        var requests = new ActiveRequestsEndpoint(parts);
        var service = new ServiceEndpoints(parts, status);
        var policies = new KvPolicyEndpoints(parts);
        var settings = new SettingsEndpoints(parts);
        RouteGroupBuilder admin = routes.MapGroup("");
        admin.WithMetadata(RouteAccess.Admin);
        admin.MapMethods("/admin/status", Read, status.WriteAsync);
        admin.MapMethods("/admin/requests", Read, requests.ListAsync);
        admin.MapDelete("/admin/requests/{id}", requests.EndAsync);
        admin.MapPost("/admin/drain", service.DrainAsync);
        admin.MapPost("/admin/resume", service.ResumeAsync);
        admin.MapPost("/admin/cache/reset", service.ResetCacheAsync);
        admin.MapPost("/reset_prefix_cache", service.ResetCacheAsync);
        admin.MapMethods("/admin/kv-policies", Read, policies.ListAsync);
        admin.MapPut("/admin/models/{**rest}", policies.ChangeAsync);
        admin.MapMethods("/admin/config", Read, settings.WriteConfigAsync);
        admin.MapMethods("/admin/log-level", Read, settings.WriteLevelsAsync);
        admin.MapPut("/admin/log-level", settings.ChangeLevelAsync);
    }
}
