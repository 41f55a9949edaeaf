using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;

namespace InferenceService.Server.Api.Admin;

/// <summary><c>POST /admin/drain</c>, <c>/admin/resume</c>, <c>/admin/cache/reset</c> and its alias <c>/reset_prefix_cache</c>.</summary>
internal sealed class ServiceEndpoints(AdminParts parts, StatusEndpoint status)
{
    /// <summary>Takes the server out of service, as SIGTERM does, without ending it: not ready at once, refusing after the delay.</summary>
    public Task DrainAsync(HttpContext http)
    {
        AdminAudit.Note(http, parts.Lifecycle.TakeOut(parts.Settings.Options.Server.DrainDelay) ? $"out of service, {parts.Lifecycle.InFlight} requests under way" : "nothing changed");
        return status.WriteAsync(http);
    }

    /// <summary>Puts it back.</summary>
    public Task ResumeAsync(HttpContext http)
    {
        AdminAudit.Note(http, parts.Lifecycle.PutBack() ? "in service again" : "nothing changed");
        return status.WriteAsync(http);
    }

    /// <summary>Forgets every cached prefix that no running request holds.</summary>
    public Task ResetCacheAsync(HttpContext http)
    {
        int blocks = 0;
        foreach (ServedModel model in parts.Catalog.Models)
        {
            blocks += model.Engine.Statistics.BlocksCached;
            model.Engine.ResetPrefixCache();
        }

        AdminAudit.Note(http, $"{blocks} cached blocks");
        return JsonBody.WriteAsync(http, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("blocks_cached_before", blocks);
            json.WriteEndObject();
        });
    }
}
