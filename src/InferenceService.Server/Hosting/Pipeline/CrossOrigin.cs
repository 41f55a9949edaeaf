using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>Lets pages of listed origins call; does nothing when none is listed. Credentials are never allowed.</summary>
internal static class CrossOrigin
{
    // Browsers ask for headers by exact name; the official client sends this family.
    private static readonly string[] Stainless =
        [.. "lang,package-version,os,arch,runtime,runtime-version,retry-count,timeout,read-timeout,async,helper-method,poll-helper,custom-poll-interval"
            .Split(',').Select(name => $"x-stainless-{name}")];

    private static readonly string[] RateLimits =
        [.. "limit,remaining,reset".Split(',').SelectMany(kind => (string[])[$"x-ratelimit-{kind}-requests", $"x-ratelimit-{kind}-tokens"])];

    /// <summary>Adds the middleware; after routing, before authentication, because preflights carry no key.</summary>
    public static void Use(IApplicationBuilder app, CorsOptions options)
    {
        if (options.Origins.Count == 0)
            return;
        app.UseCors(policy => policy
            .WithOrigins([.. options.Origins])
            .WithMethods("GET", "POST", "DELETE", "OPTIONS")
            .WithHeaders(["authorization", "content-type", "x-request-id", PolicyChoice.Header, RequestTimeout.Header, .. Stainless])
            .WithExposedHeaders(["x-request-id", PolicyChoice.Header, "retry-after", .. RateLimits]));
    }
}
