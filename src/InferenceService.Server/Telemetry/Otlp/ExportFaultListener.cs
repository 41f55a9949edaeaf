using System.Diagnostics.Tracing;
using System.Globalization;

namespace InferenceService.Server.Telemetry.Otlp;

/// <summary>Hears of the exporters' faults, which they tell nobody but their event source.</summary>
internal sealed class ExportFaultListener : EventListener
{
    private const string Exporters = "OpenTelemetry-Exporter-OpenTelemetryProtocol";

    private readonly ExportFaults _faults;

    /// <summary>Listens from now on.</summary>
    public ExportFaultListener(ExportFaults faults) => _faults = faults;

    /// <inheritdoc/>
    protected override void OnEventSourceCreated(EventSource eventSource)
    {
        if (eventSource.Name == Exporters)
            EnableEvents(eventSource, EventLevel.Warning);
    }

    /// <inheritdoc/>
    protected override void OnEventWritten(EventWrittenEventArgs eventData)
    {
        // The base constructor subscribes before the field is there.
        if (_faults is null || eventData.Message is not { } message)
            return;
        _faults.Note(eventData.Payload is { Count: > 0 } payload ? string.Format(CultureInfo.InvariantCulture, message, [.. payload]) : message);
    }
}
