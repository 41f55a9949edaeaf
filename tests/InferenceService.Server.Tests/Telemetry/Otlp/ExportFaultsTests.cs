using InferenceService.Server.Telemetry.Otlp;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests.Telemetry.Otlp;

public sealed class ExportFaultsTests
{
    [Fact]
    public void Faults_are_told_once_a_minute_in_one_line_each()
    {
        var (time, log) = (new ManualTime(), new ListLogger());
        var faults = new ExportFaults(log, time);
        faults.Note("refused: 127.0.0.1:4317\r\n   at System.Net.Sockets");
        faults.Note("refused again");
        time.Advance(TimeSpan.FromSeconds(59));
        faults.Note("refused again");
        time.Advance(TimeSpan.FromSeconds(1));
        faults.Note(new string('x', 2000));
        Assert.Equal(4, faults.Count);
        Assert.Equal(
            [
                "Telemetry is not delivered (1 faults since the last line): refused: 127.0.0.1:4317",
                "Telemetry is not delivered (3 faults since the last line): " + new string('x', 500),
            ],
            log.Lines);
    }

    private sealed class ListLogger : ILogger<ExportFaults>
    {
        public List<string> Lines { get; } = [];

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Lines.Add(formatter(state, exception));
    }
}
