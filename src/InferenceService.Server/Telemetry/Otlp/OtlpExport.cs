using InferenceService.Server.Hosting;
using OpenTelemetry;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace InferenceService.Server.Telemetry.Otlp;

/// <summary>Registers the OpenTelemetry providers that export by OTLP. Without settings that ask for it, nothing is registered and nothing runs.</summary>
/// <remarks>
/// Spans and log records go through bounded queues (2,048 by default, <c>OTEL_BSP_*</c> and <c>OTEL_BLRP_*</c>) that drop what does not fit, and leave on threads of
/// their own: a slow or dead collector costs a request nothing.
/// </remarks>
internal static class OtlpExport
{
    private static readonly string[] Meters =
    [
        RequestTelemetry.Name, "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Routing", "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime",
    ];

    /// <summary>Adds what the settings ask for.</summary>
    public static void AddTo(WebApplicationBuilder builder, OtlpSettings settings)
    {
        if (!settings.Any)
            return;
        builder.Configuration.AddInMemoryCollection(settings.Sdk);
        var telemetry = new Signals(builder.Services);
        telemetry.ConfigureResource(resource => resource.AddAttributes(ResourceAttributes(settings)));
        if (settings.Traces)
            telemetry.WithTracing(traces => traces.AddSource("Microsoft.AspNetCore", RequestTelemetry.Name).AddOtlpExporter());
        if (settings.Metrics)
            telemetry.WithMetrics(metrics => metrics.AddMeter(Meters).AddOtlpExporter());
        if (settings.Logs)
            telemetry.WithLogging(logs => logs.AddOtlpExporter(), logs => logs.IncludeFormattedMessage = true);
        builder.Services.AddSingleton<ExportFaults>().AddSingleton<ExportFaultListener>().AddHostedService<Starter>();
    }

    private static IEnumerable<KeyValuePair<string, object>> ResourceAttributes(OtlpSettings settings)
    {
        if (!OtlpSettings.NamesResource(settings.Sdk, "service.version"))
            yield return KeyValuePair.Create<string, object>("service.version", ServerVersion.Text);
        if (!OtlpSettings.NamesResource(settings.Sdk, "service.instance.id"))
            yield return KeyValuePair.Create<string, object>("service.instance.id", Guid.NewGuid().ToString());
    }

    private sealed class Signals(IServiceCollection services) : IOpenTelemetryBuilder
    {
        public IServiceCollection Services { get; } = services;
    }

    // Asking for them is what starts them: providers listen from when they are made, instruments exist from then on. The container ends
    // them after the last request, which flushes. That of logs is made with the first logger.
    private sealed class Starter : IHostedService
    {
        public Starter(ExportFaultListener faults, IEnumerable<TracerProvider> traces, IEnumerable<MeterProvider> metrics, RequestTelemetry instruments) =>
            (Faults, Providers, Instruments) = (faults, [.. traces, .. metrics], instruments);

        public ExportFaultListener Faults { get; }

        public BaseProvider[] Providers { get; }

        public RequestTelemetry Instruments { get; }

        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
