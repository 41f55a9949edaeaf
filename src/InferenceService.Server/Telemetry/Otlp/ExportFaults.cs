namespace InferenceService.Server.Telemetry.Otlp;

/// <summary>Says in the log, at most once a minute, that telemetry could not be delivered. Any thread.</summary>
internal sealed partial class ExportFaults(ILogger<ExportFaults> logger, TimeProvider time)
{
    private const int LongestLine = 500;

    private static readonly TimeSpan Quiet = TimeSpan.FromMinutes(1);

    private long _count;
    private long _told;
    private long _toldAt;

    /// <summary>Faults so far.</summary>
    public long Count => Interlocked.Read(ref _count);

    /// <summary>Counts a fault, and tells of it and of those before it unless it did so a moment ago.</summary>
    public void Note(string message)
    {
        long count = Interlocked.Increment(ref _count), last = Interlocked.Read(ref _toldAt), now = Math.Max(1, time.GetTimestamp());
        if ((last != 0 && time.GetElapsedTime(last, now) < Quiet) || Interlocked.CompareExchange(ref _toldAt, now, last) != last)
            return;
        // An exception's first line; its stack says nothing about the collector.
        int end = message.AsSpan().IndexOfAny('\r', '\n');
        string line = end < 0 ? message : message[..end];
        LogFault(logger, count - Interlocked.Exchange(ref _told, count), line.Length <= LongestLine ? line : line[..LongestLine]);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Telemetry is not delivered ({Count} faults since the last line): {Fault}")]
    private static partial void LogFault(ILogger logger, long count, string fault);
}
