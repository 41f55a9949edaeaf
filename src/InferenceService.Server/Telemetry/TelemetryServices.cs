using InferenceService.Server.Configuration;
using InferenceService.Server.Telemetry.Otlp;

namespace InferenceService.Server.Telemetry;

/// <summary>What counts, times and traces: always there, exported only where settings ask for it.</summary>
internal static class TelemetryServices
{
    /// <summary>Registers it.</summary>
    public static void AddTo(WebApplicationBuilder builder, TelemetryOptions options, ProcessEnvironment environment)
    {
        var export = OtlpSettings.From(options, environment);
        builder.Services.AddMetrics().AddSingleton(export)
            .AddSingleton<InferenceMetrics>().AddSingleton<HttpMetrics>().AddSingleton<MetricsPage>().AddSingleton<RequestTelemetry>();
        OtlpExport.AddTo(builder, export);
    }
}
