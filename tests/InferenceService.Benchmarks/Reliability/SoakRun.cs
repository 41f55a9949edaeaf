using System.Diagnostics;
using System.Globalization;
using InferenceService.Benchmarks.Comparison;
using InferenceService.Benchmarks.Load;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>
/// One soak: a server of ours with a KV pool that is too small, a trace with clients that leave and mistakes among them, then the books: nothing owned,
/// nothing lost, memory flat, and a sample of the answers asked for again, one at a time, of a fresh server with room for everything.
/// </summary>
internal sealed class SoakRun(SoakOptions options)
{
    /// <summary>Name under which the model is served.</summary>
    public const string ModelName = "soaked";

    private const string Trace = "Traces/azure-llm-2023-conv-4000.csv.gz";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly SoakMix _mix = new(
        ModelName, Lengths(options), options.Context, options.Disconnects, options.Invalid, options.Seed);

    private readonly SoakTally _tally = new(options.Sample, options.Seed);

    /// <summary>Runs to its end.</summary>
    public async Task<SoakReport> RunAsync(CancellationToken cancellation)
    {
        var report = new SoakReport { Tally = _tally };
        await using (ServerProcess server = await OurServer.StartAsync(options.Server, options.LoadedFlags, cancellation, SoakOptions.Settings))
        {
            using HttpClient http = NewClient(server);
            var memory = new MemoryWatch(server.Id);
            long began = Stopwatch.GetTimestamp();
            await using (memory)
                await LoadAsync(new SoakClient(http), cancellation);
            report.Seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            report.Memory = memory.Samples;
            (report.MemoryRise, report.MemoryMean) = MemoryWatch.Trend(memory.Samples, options.WarmUp * report.Seconds);
            await CloseBooksAsync(http, report, cancellation);
            report.ExitCode = await server.EndAsync(cancellation);
        }

        await RepeatAloneAsync(report, cancellation);
        report.Judge(options);
        return report;
    }

    private static Arrival[] Lengths(SoakOptions options) =>
    [
        .. Arrival.FromCsv(Path.Combine(AppContext.BaseDirectory, Trace), int.MaxValue, speed: 1, scale: 1, int.MaxValue).Select(arrival => arrival with
        {
            PromptTokens = Math.Clamp((int)(arrival.PromptTokens * options.PromptScale), 1, options.Context / 2),
            OutputTokens = Math.Clamp((int)(arrival.OutputTokens * options.AnswerScale), 1, options.Context / 3),
        }),
    ];

    private async Task LoadAsync(SoakClient client, CancellationToken cancellation)
    {
        using var free = new SemaphoreSlim(options.InFlight);
        var running = new HashSet<Task>();
        long began = Stopwatch.GetTimestamp();
        for (int number = 0; options.Minutes is { } minutes ? Stopwatch.GetElapsedTime(began).TotalMinutes < minutes : number < options.Requests; number++)
        {
            TimeSpan early = TimeSpan.FromSeconds(_mix.At(number) / options.Speed) - Stopwatch.GetElapsedTime(began);
            if (early > TimeSpan.Zero)
                await Task.Delay(early, cancellation); // the trace says when
            await free.WaitAsync(cancellation);
            running.RemoveWhere(task => task.IsCompletedSuccessfully);
            running.Add(SendAsync(client, number, free, cancellation));
        }

        await Task.WhenAll(running);
    }

    private async Task SendAsync(SoakClient client, int number, SemaphoreSlim free, CancellationToken cancellation)
    {
        try
        {
            SoakRequest request = _mix.Request(number);
            _tally.Add(number, request, await client.RunAsync(request, cancellation));
        }
        finally
        {
            free.Release();
        }
    }

    // The server notices the last clients that left a little later than they leave.
    private static async Task CloseBooksAsync(HttpClient http, SoakReport report, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        while (true)
        {
            MetricsReading page = await MetricsReading.OfAsync(http, cancellation);
            report.Books = SoakBooks.Read(page);
            if (report.Books.Fault is null || Stopwatch.GetElapsedTime(began) > Patience)
                return;
            await Task.Delay(TimeSpan.FromMilliseconds(20), cancellation); // asks again
        }
    }

    private async Task RepeatAloneAsync(SoakReport report, CancellationToken cancellation)
    {
        await using ServerProcess server = await OurServer.StartAsync(options.Server, options.AloneFlags, cancellation, SoakOptions.Settings);
        using HttpClient http = NewClient(server);
        var client = new SoakClient(http);
        foreach ((int number, string text) in _tally.Sample)
        {
            SoakRequest request = _mix.Request(number);
            SoakOutcome alone = await client.RepeatAsync(request, cancellation);
            report.Compared++;
            if (alone.End != SoakEnd.Answered || alone.Text != text)
                report.Different.Add(string.Create(CultureInfo.InvariantCulture, $"request {number} ({request.Policy}): under load '{text}', alone '{alone.Text}'"));
        }
    }

    private static HttpClient NewClient(ServerProcess server) =>
        new(new SocketsHttpHandler { MaxConnectionsPerServer = int.MaxValue }) { BaseAddress = server.Address, Timeout = Timeout.InfiniteTimeSpan };
}
