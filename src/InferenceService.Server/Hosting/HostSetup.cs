using InferenceService.Server.Configuration;
using Microsoft.Extensions.Options;

namespace InferenceService.Server.Hosting;

/// <summary>The bare host: nothing of the framework's own configuration, logging to standard error.</summary>
internal static class HostSetup
{
    // After running work was told to end, connections get a moment to close.
    private static readonly TimeSpan CloseConnections = TimeSpan.FromSeconds(10);

    /// <summary>A builder with configuration, logging and shutdown set up.</summary>
    public static WebApplicationBuilder NewBuilder(ConfigurationReading reading, ProcessEnvironment environment)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions
        {
            EnvironmentName = environment.Name,
            ContentRootPath = AppContext.BaseDirectory,
            ApplicationName = typeof(HostSetup).Assembly.GetName().Name,
        });
        builder.Configuration.AddInMemoryCollection(reading.Framework);
        builder.Logging.AddConfiguration(builder.Configuration.GetSection("Logging"));
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true);
        builder.Logging.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(
            console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        // A failed start is told in one line by ServerRun; the host would add the stack.
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        // Logs whole addresses, and some clients put their key into the query; --enable-log-requests tells the same without.
        FixedLogLevel.Set(builder.Logging, "Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.Warning);
        CutStreamsUnlogged.AddTo(builder.Services);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = CloseConnections);
        builder.Services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        return builder;
    }

    /// <summary>Registers the configuration, and every section of it that a class takes alone.</summary>
    public static void AddOptions(IServiceCollection services, ServerConfiguration options)
    {
        services.AddSingleton(options).AddSingleton(options.Limits).AddSingleton(options.Streaming).AddSingleton(options.Admission);
        services.AddSingleton(options.Server).AddSingleton(options.Engine).AddSingleton(options.Logging).AddSingleton(options.Telemetry);
        services.AddSingleton(Options.Create(options.Limits)).AddSingleton(Options.Create(options.Streaming)).AddSingleton(Options.Create(options.Admission));
    }
}
