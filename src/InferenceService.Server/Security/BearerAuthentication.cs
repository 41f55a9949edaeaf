using InferenceService.Server.Api;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Security;

/// <summary>Lets a request through only with a key that covers its route; unknown routes need a key like any other.</summary>
/// <param name="next">What is guarded.</param>
/// <param name="keys">Who may call.</param>
/// <param name="metrics">Where refusals on inference routes are counted; null where there are none, on the admin port.</param>
/// <param name="unmarked">What is asked where a route says nothing, or there is none; null = <see cref="ApiScope.Inference"/>.</param>
internal sealed class BearerAuthentication(RequestDelegate next, ApiKeys keys, InferenceMetrics? metrics = null, RouteAccess? unmarked = null)
{
    private const string Scheme = "Bearer ";

    // One instance for missing and wrong keys: the answers must be identical.
    private static readonly ApiError Unauthorized =
        new(401, "invalid_request_error", "invalid_api_key", "The API key is missing or not valid. Send it as \"Authorization: Bearer KEY\".");

    private static readonly ApiError Forbidden = new(403, "permission_error", "insufficient_permissions", "The API key does not cover this route.");

    /// <summary>Runs the request or answers 401 or 403.</summary>
    public Task InvokeAsync(HttpContext context)
    {
        RouteAccess? access = context.GetEndpoint()?.Metadata.GetMetadata<RouteAccess>();
        if (!keys.Required || access == RouteAccess.Open || HttpMethods.IsOptions(context.Request.Method))
            return next(context);
        if (keys.Find(Presented(context.Request.Headers)) is not { } key)
        {
            context.Response.Headers.WWWAuthenticate = "Bearer";
            return RefuseAsync(context, Unauthorized, RejectionReason.Unauthorized);
        }

        context.Features.Set(key);
        // Whoever may operate the server may also look at it.
        ApiScope needed = (access ?? unmarked)?.Scope ?? ApiScope.Inference;
        bool covered = (key.Scopes & needed) == needed || (needed == ApiScope.Metrics && key.Scopes.HasFlag(ApiScope.Admin));
        if (!covered)
            return RefuseAsync(context, Forbidden, RejectionReason.Forbidden);
        if (key.Account.HasHeaders && IsInference(context))
        {
            context.Response.OnStarting(() =>
            {
                key.Account.Describe(context.Response.Headers);
                return Task.CompletedTask;
            });
        }

        return next(context);
    }

    private Task RefuseAsync(HttpContext context, ApiError error, RejectionReason reason)
    {
        if (IsInference(context))
            metrics?.Rejected(reason);
        return OpenAiError.WriteAsync(context, error);
    }

    private static bool IsInference(HttpContext context) => context.GetEndpoint()?.Metadata.GetMetadata<InferenceRoute>() is not null;

    private static string? Presented(IHeaderDictionary headers)
    {
        string? authorization = headers.Authorization;
        if (authorization is not null && authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            return authorization[Scheme.Length..].Trim();
        string? plain = headers["api-key"];
        return plain ?? headers["x-api-key"];
    }
}
