using System.Diagnostics;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>Samples a process's resident memory once a second until it is stopped.</summary>
internal sealed class MemoryWatch : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly List<(double Seconds, double Bytes)> _samples = [];
    private readonly Task _watching;

    /// <summary>Watches from now.</summary>
    public MemoryWatch(int processId) => _watching = WatchAsync(processId);

    /// <summary>Seconds since the start and bytes; complete once disposed.</summary>
    public IReadOnlyList<(double Seconds, double Bytes)> Samples => _samples;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _stop.Dispose();
    }

    /// <summary>Least-squares line through the samples from a moment on: bytes that it rises over them, and their mean.</summary>
    public static (double Rise, double Mean) Trend(IReadOnlyList<(double Seconds, double Bytes)> samples, double fromSeconds)
    {
        (double Seconds, double Bytes)[] kept = [.. samples.Where(sample => sample.Seconds >= fromSeconds)];
        if (kept.Length < 2)
            return (double.NaN, double.NaN);
        double meanX = kept.Average(sample => sample.Seconds), meanY = kept.Average(sample => sample.Bytes);
        double slope = kept.Sum(sample => (sample.Seconds - meanX) * (sample.Bytes - meanY)) / kept.Sum(sample => Math.Pow(sample.Seconds - meanX, 2));
        return (slope * (kept[^1].Seconds - kept[0].Seconds), meanY);
    }

    private async Task WatchAsync(int processId)
    {
        using var process = Process.GetProcessById(processId);
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        long began = Stopwatch.GetTimestamp();
        try
        {
            do
            {
                process.Refresh();
                _samples.Add((Stopwatch.GetElapsedTime(began).TotalSeconds, process.WorkingSet64));
            }
            while (await timer.WaitForNextTickAsync(_stop.Token));
        }
        catch (OperationCanceledException)
        {
            // Told to stop.
        }
        catch (InvalidOperationException)
        {
            // The process has ended; whoever runs it says so.
        }
    }
}
