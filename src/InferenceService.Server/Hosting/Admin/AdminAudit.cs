using System.Globalization;
using InferenceService.Server.Security;

namespace InferenceService.Server.Hosting.Admin;

/// <summary>One line in the log for every request to the admin port: who did what, from where, and how it ended. Refused ones too.</summary>
internal sealed partial class AdminAudit(RequestDelegate next, ILoggerFactory logs)
{
    /// <summary>Its own category, which <see cref="LogLevels"/> does not turn down.</summary>
    public const string Category = "InferenceService.Server.Audit";

    private const int LongestText = 256;

    private readonly ILogger _logger = logs.CreateLogger(Category);

    /// <summary>Adds to the request's line what it has changed.</summary>
    public static void Note(HttpContext context, string what) => context.Features.Set(new Detail(what));

    /// <summary>Runs the request, then writes its line.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (Exception exception)
        {
            // The answer is made further outside.
            Log(context, exception is BadHttpRequestException bad ? bad.StatusCode : StatusCodes.Status500InternalServerError);
            throw;
        }

        Log(context, context.Response.StatusCode);
    }

    /// <summary>A text from outside as part of one line: no control and format characters, no line separators, and not endless.</summary>
    public static string OneLine(string text)
    {
        ReadOnlySpan<char> kept = text.AsSpan(0, Math.Min(text.Length, LongestText));
        return string.Create(kept.Length, text, static (line, source) =>
        {
            for (int i = 0; i < line.Length; i++)
            {
                UnicodeCategory category = char.GetUnicodeCategory(source[i]);
                bool breaks = category is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator
                    or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate;
                line[i] = breaks ? '?' : source[i];
            }
        });
    }

    private void Log(HttpContext context, int status)
    {
        LogLevel level = status is 401 or 403 ? LogLevel.Warning : LogLevel.Information;
        if (!_logger.IsEnabled(level))
            return;
        string who = ApiKey.Of(context)?.Name ?? "nobody", from = context.Connection.RemoteIpAddress?.ToString() ?? "unknown";
        string method = OneLine(context.Request.Method), path = OneLine(context.Request.Path.Value ?? "/");
        string what = context.Features.Get<Detail>() is { } detail ? $" ({OneLine(detail.What)})" : "";
        LogLine(_logger, level, method, path, what, who, from, status, context.TraceIdentifier);
    }

    [LoggerMessage(Message = "{Method} {Path}{What} by {Key} from {Address}: {Status}, request {RequestId}")]
    private static partial void LogLine(ILogger logger, LogLevel level, string method, string path, string what, string key, string address, int status, string requestId);

    private sealed record Detail(string What);
}
