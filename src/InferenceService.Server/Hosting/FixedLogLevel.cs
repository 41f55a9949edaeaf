using Microsoft.Extensions.Logging.Console;
using OpenTelemetry.Logs;

namespace InferenceService.Server.Hosting;

/// <summary>The level of a category that no setting changes.</summary>
internal static class FixedLogLevel
{
    /// <summary>Sets it for all, and for each provider by name, whose own rules (<c>Logging:Console:LogLevel</c>) otherwise come before those of all.</summary>
    public static void Set(ILoggingBuilder logging, string category, LogLevel level) =>
        logging.AddFilter(category, level).AddFilter<ConsoleLoggerProvider>(category, level).AddFilter<OpenTelemetryLoggerProvider>(category, level);
}
