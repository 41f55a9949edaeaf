using System.Diagnostics;
using InferenceService.Server.Hosting.Pipeline;
using Microsoft.AspNetCore.Http.Features;

namespace InferenceService.Server.Telemetry;

/// <summary>The server span that ASP.NET Core makes of a request, named and described by the HTTP conventions.</summary>
/// <remarks>Conventions: opentelemetry.io/docs/specs/semconv/http/http-spans, version 1.42.0. No header, no query and no body is ever recorded.</remarks>
internal static class HttpSpan
{
    private const int LongestPath = 256;

    /// <summary>Describes the request's span once its answer is known. Probes and scrapes are not worth one.</summary>
    /// <param name="handler">Pattern of the route, or "unmatched".</param>
    public static void Describe(HttpContext context, string handler)
    {
        if (context.Features.Get<IHttpActivityFeature>()?.Activity is not { IsAllDataRequested: true } span)
            return;
        if (context.GetEndpoint()?.Metadata.GetMetadata<ProbeRoute>() is not null)
        {
            span.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
            span.IsAllDataRequested = false;
            return;
        }

        HttpRequest request = context.Request;
        bool matched = context.GetEndpoint() is not null;
        string method = HttpMetrics.Known(request.Method);
        span.DisplayName = matched ? $"{method} {handler}" : method;
        span.SetTag("http.request.method", method == "OTHER" ? "_OTHER" : method);
        if (matched)
            span.SetTag("http.route", handler);
        string path = request.Path.Value ?? "/";
        span.SetTag("url.path", path.Length <= LongestPath ? path : path[..LongestPath]);
        span.SetTag("url.scheme", request.Scheme);
        if (context.Connection.LocalIpAddress is { } address)
        {
            span.SetTag("server.address", address.ToString());
            span.SetTag("server.port", context.Connection.LocalPort);
        }

        int status = context.Response.StatusCode;
        span.SetTag("http.response.status_code", status);
        span.SetTag("inference.request_id", context.TraceIdentifier);
        if (status < StatusCodes.Status500InternalServerError)
            return;
        span.SetTag("error.type", status.ToString(System.Globalization.CultureInfo.InvariantCulture));
        span.SetStatus(ActivityStatusCode.Error);
    }

    /// <summary>The span of the request in the form of <c>traceparent</c>, so that a client can name its trace; null = it is not recorded.</summary>
    public static string? ResponseContext(HttpContext context) =>
        context.Features.Get<IHttpActivityFeature>()?.Activity is { Recorded: true, IdFormat: ActivityIdFormat.W3C } span ? span.Id : null;
}
