using System.Diagnostics;
using InferenceService.Benchmarks.Comparison;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>
/// What a server of ours serves when it has just enough to do, and when it is offered many times as much, in turn: the first is the measure of
/// the second, because the machine may change its mind between them.
/// </summary>
internal sealed class OverloadRun(OverloadOptions options)
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    /// <summary>Runs to its end.</summary>
    public async Task<OverloadReport> RunAsync(CancellationToken cancellation)
    {
        var report = new OverloadReport();
        var environment = new Dictionary<string, string> { ["INFERENCE__Server__DrainDelay"] = "0" };
        await using ServerProcess server = await OurServer.StartAsync(options.Server, options.Flags, cancellation, environment);
        using var handler = new SocketsHttpHandler { MaxConnectionsPerServer = int.MaxValue };
        using var http = new HttpClient(handler) { BaseAddress = server.Address, Timeout = Timeout.InfiniteTimeSpan };
        var client = new OverloadClient(http, options);
        var memory = new MemoryWatch(server.Id);
        long began = Stopwatch.GetTimestamp();
        double afterFirst = 0;
        await using (memory)
        {
            for (int round = 0; round < options.Rounds; round++)
            {
                OverloadPhase saturated = await SaturateAsync(client, cancellation);
                OverloadPhase overloaded = await OverloadAsync(client, options.Factor * saturated.Tally.Complete / saturated.Seconds, cancellation);
                report.Rounds.Add((saturated, overloaded));
                if (round == 0)
                    afterFirst = Stopwatch.GetElapsedTime(began).TotalSeconds;
            }
        }

        report.Memory = memory.Samples;
        (report.MemoryRise, report.MemoryMean) = MemoryWatch.Trend(memory.Samples, options.Rounds > 1 ? afterFirst : 0);
        report.Books = SoakBooks.Read(await MetricsReading.OfAsync(http, cancellation));
        report.ExitCode = await server.EndAsync(cancellation);
        report.Judge(options);
        return report;
    }

    // Closed loop: the batch is full and somebody always waits, but nobody is refused.
    private async Task<OverloadPhase> SaturateAsync(OverloadClient client, CancellationToken cancellation)
    {
        var tally = new OverloadTally();
        using var stop = new CancellationTokenSource();
        Task[] clients = [.. Enumerable.Range(0, options.MaxSeqs + (options.Queue / 2)).Select(async _ =>
        {
            while (!stop.IsCancellationRequested)
                await client.RunAsync(tally, cancellation);
        })];
        double seconds = await MeasureAsync(tally, options.Saturated, cancellation);
        await stop.CancelAsync();
        await Task.WhenAll(clients);
        return new OverloadPhase(tally, seconds, tally.Complete / seconds);
    }

    // Open loop: requests come evenly, whatever became of those before.
    private async Task<OverloadPhase> OverloadAsync(OverloadClient client, double rate, CancellationToken cancellation)
    {
        var tally = new OverloadTally();
        using var stop = new CancellationTokenSource();
        Task sending = SendEvenlyAsync(client, tally, rate, stop.Token, cancellation);
        double seconds = await MeasureAsync(tally, options.Overloaded, cancellation);
        await stop.CancelAsync();
        await sending;
        return new OverloadPhase(tally, seconds, rate);
    }

    private static async Task SendEvenlyAsync(OverloadClient client, OverloadTally tally, double rate, CancellationToken stop, CancellationToken cancellation)
    {
        var running = new List<Task>();
        using var timer = new PeriodicTimer(Tick);
        long began = Stopwatch.GetTimestamp();
        long sent = 0;
        while (!stop.IsCancellationRequested)
        {
            for (double due = Stopwatch.GetElapsedTime(began).TotalSeconds * rate; sent < due; sent++)
                running.Add(client.RunAsync(tally, cancellation));
            running.RemoveAll(task => task.IsCompletedSuccessfully);
            await timer.WaitForNextTickAsync(cancellation);
        }

        await Task.WhenAll(running);
    }

    private async Task<double> MeasureAsync(OverloadTally tally, double seconds, CancellationToken cancellation)
    {
        await Task.Delay(TimeSpan.FromSeconds(options.Settle), cancellation); // the load builds up
        tally.Count(true);
        long began = Stopwatch.GetTimestamp();
        await Task.Delay(TimeSpan.FromSeconds(seconds), cancellation); // the measured time
        tally.Count(false);
        return Stopwatch.GetElapsedTime(began).TotalSeconds;
    }
}

/// <summary>One load and what became of it.</summary>
/// <param name="Tally">How requests ended.</param>
/// <param name="Seconds">Measured time.</param>
/// <param name="Offered">Requests a second.</param>
internal sealed record OverloadPhase(OverloadTally Tally, double Seconds, double Offered)
{
    /// <summary>Good answers a second.</summary>
    public double Goodput => Tally.Good / Seconds;
}
