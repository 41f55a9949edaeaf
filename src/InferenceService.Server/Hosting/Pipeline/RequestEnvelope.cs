using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using InferenceService.Server.Configuration;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Telemetry.Otlp;

namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>Outermost layer: gives every request its id and the headers every answer carries, counts it, and logs it if asked to.</summary>
internal sealed partial class RequestEnvelope(
    RequestDelegate next, HttpMetrics metrics, LoggingOptions logging, OtlpSettings export, TimeProvider time, ILogger<RequestEnvelope> logger)
{
    private const int MaxIdLength = 128;

    /// <summary>Runs the request.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        long start = time.GetTimestamp();
        RequestArrival.Note(context, start);
        string? given = context.Request.Headers["X-Request-Id"];
        string id = given is not null && IsId(given) ? given : "req_" + RandomNumberGenerator.GetHexString(32, lowercase: true);
        context.TraceIdentifier = id;
        IHeaderDictionary headers = context.Response.Headers;
        headers["x-request-id"] = id;
        headers["openai-version"] = "2020-10-01";
        if (export.Traces && HttpSpan.ResponseContext(context) is { } span)
            headers["traceresponse"] = span;
        context.Response.OnStarting(() =>
        {
            headers["openai-processing-ms"] = ((long)time.GetElapsedTime(start).TotalMilliseconds).ToString(CultureInfo.InvariantCulture);
            return Task.CompletedTask;
        });
        try
        {
            await next(context);
        }
        finally
        {
            TimeSpan elapsed = time.GetElapsedTime(start);
            string handler = (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? "unmatched";
            HttpSpan.Describe(context, handler);
            metrics.Observe(handler, context.Request.Method, context.Response.StatusCode, elapsed.TotalSeconds);
            if (logging.Requests && logger.IsEnabled(LogLevel.Information))
            {
                string? trace = Activity.Current?.TraceId.ToHexString();
                LogRequest(logger, context.Request.Method, handler, context.Response.StatusCode, elapsed.TotalMilliseconds, id, trace);
            }
        }
    }

    /// <summary><c>[A-Za-z0-9._:-]{1,128}</c></summary>
    private static bool IsId(string text)
    {
        if (text.Length is 0 or > MaxIdLength)
            return false;
        foreach (char c in text)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or ':' or '-'))
                return false;
        }

        return true;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Method} {Route} {Status} in {Milliseconds:0.0} ms, request {RequestId}, trace {TraceId}")]
    private static partial void LogRequest(ILogger logger, string method, string route, int status, double milliseconds, string requestId, string? traceId);
}
