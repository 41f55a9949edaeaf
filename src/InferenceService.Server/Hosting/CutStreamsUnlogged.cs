using InferenceService.Server.Api.Output;
using Microsoft.Extensions.Options;

namespace InferenceService.Server.Hosting;

/// <summary>
/// The framework's logger factory, but for one record: the web server calls whatever leaves a request an unhandled exception of the application,
/// with its stack, and <see cref="StreamCutException"/> leaves every stream whose client has been told its error. No filter sees exceptions.
/// </summary>
internal sealed class CutStreamsUnlogged(ILoggerFactory all) : ILoggerFactory
{
    private const string WebServer = "Microsoft.AspNetCore.Server.Kestrel";

    /// <summary>Puts it in the place of the framework's.</summary>
    public static void AddTo(IServiceCollection services) => services.AddSingleton<ILoggerFactory>(static parts => new CutStreamsUnlogged(new LoggerFactory(
        parts.GetServices<ILoggerProvider>(), parts.GetRequiredService<IOptionsMonitor<LoggerFilterOptions>>(), parts.GetRequiredService<IOptions<LoggerFactoryOptions>>(),
        parts.GetService<IExternalScopeProvider>())));

    /// <inheritdoc/>
    public ILogger CreateLogger(string categoryName) => categoryName == WebServer ? new WithoutCuts(all.CreateLogger(categoryName)) : all.CreateLogger(categoryName);

    /// <inheritdoc/>
    public void AddProvider(ILoggerProvider provider) => all.AddProvider(provider);

    /// <inheritdoc/>
    public void Dispose() => all.Dispose();

    private sealed class WithoutCuts(ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (exception is not StreamCutException)
                inner.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
