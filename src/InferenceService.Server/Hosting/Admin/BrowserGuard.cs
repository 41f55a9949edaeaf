using InferenceService.Server.Api;

namespace InferenceService.Server.Hosting.Admin;

/// <summary>Refuses what a web page sends: no page may operate the server of whoever looks at it (CSRF).</summary>
internal sealed class BrowserGuard(RequestDelegate next)
{
    private static readonly ApiError Refused = new(403, "permission_error", "origin_not_allowed", "The admin routes cannot be called from a web page.");

    /// <summary>Runs the request or answers 403.</summary>
    public Task InvokeAsync(HttpContext context)
    {
        IHeaderDictionary headers = context.Request.Headers;
        // Browsers add the first to every request that can change something, the second to all; no other client sends either.
        bool fromPage = headers.ContainsKey("Origin") || (headers.TryGetValue("Sec-Fetch-Site", out var site) && site != "none");
        return fromPage ? OpenAiError.WriteAsync(context, Refused) : next(context);
    }
}
