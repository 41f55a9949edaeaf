using InferenceService.Server.Api;

namespace InferenceService.Server.Security;

/// <summary>Lets a request through only with a key that covers its route; unknown routes need a key like any other.</summary>
internal sealed class BearerAuthentication(RequestDelegate next, ApiKeys keys)
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
            return OpenAiError.WriteAsync(context, Unauthorized);
        }

        context.Features.Set(key);
        // Whoever may operate the server may also look at it.
        ApiScope needed = access?.Scope ?? ApiScope.Inference;
        bool covered = (key.Scopes & needed) == needed || (needed == ApiScope.Metrics && key.Scopes.HasFlag(ApiScope.Admin));
        return covered ? next(context) : OpenAiError.WriteAsync(context, Forbidden);
    }

    private static string? Presented(IHeaderDictionary headers)
    {
        string? authorization = headers.Authorization;
        if (authorization is not null && authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            return authorization[Scheme.Length..].Trim();
        string? plain = headers["api-key"];
        return plain ?? headers["x-api-key"];
    }
}
