using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests;

/// <summary>Keeps what a server logs: add it to the server's <see cref="ILoggerFactory"/>.</summary>
internal sealed class LinesOfLog : ILoggerProvider
{
    private readonly ConcurrentQueue<string> _lines = new();

    /// <summary><c>category level text</c>, in order.</summary>
    public string[] Lines => [.. _lines];

    public ILogger CreateLogger(string categoryName) => new Keeper(this, categoryName);

    public void Dispose()
    {
    }

    private sealed class Keeper(LinesOfLog owner, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            owner._lines.Enqueue($"{category} {logLevel} {formatter(state, exception)}{(exception is null ? "" : "\n" + exception)}");
    }
}
