using System.Diagnostics;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>One server of a comparison and the clients that load it.</summary>
internal sealed class ServedSide : IDisposable
{
    private readonly SocketsHttpHandler _handler = new() { MaxConnectionsPerServer = int.MaxValue };
    private readonly HttpClient _http;
    private readonly CompletionClient _client;
    private readonly int? _concurrency;

    /// <summary>Clients of a server.</summary>
    /// <param name="address">Where it listens.</param>
    /// <param name="model">Model name.</param>
    /// <param name="tokenIds">Prompts are made of ids below.</param>
    /// <param name="cachePrompt">What a request says about prompt caching; null = nothing.</param>
    /// <param name="concurrency">Requests in flight; null = each is sent at its own time.</param>
    public ServedSide(Uri address, string model, int tokenIds, bool? cachePrompt, int? concurrency)
    {
        _http = new HttpClient(_handler) { BaseAddress = address, Timeout = Timeout.InfiniteTimeSpan };
        _http.DefaultRequestHeaders.ConnectionClose = true; // llama-server closes a connection behind a stream without saying so, and the next request on it would fail
        _client = new CompletionClient(_http, model, tokenIds, apiKey: null) { CachePrompt = cachePrompt, AsksUsage = true };
        _concurrency = concurrency;
    }

    /// <summary>Sends all requests and waits for their ends.</summary>
    /// <param name="round">Seeds the prompts, so that no round repeats one.</param>
    /// <exception cref="InvalidOperationException">A request failed, or was answered with another number of tokens.</exception>
    public async Task<ServedRound> RunAsync(Arrival[] arrivals, int round, CancellationToken cancellation)
    {
        int firstIndex = round * arrivals.Length;
        long began = Stopwatch.GetTimestamp();
        RequestOutcome[] outcomes = _concurrency is { } streams
            ? await LoadLoop.ClosedAsync(_client, arrivals, streams, cancellation, firstIndex)
            : await LoadLoop.OpenAsync(_client, arrivals, cancellation, firstIndex);
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        for (int i = 0; i < outcomes.Length; i++)
        {
            if (outcomes[i].Status != 200)
                throw new InvalidOperationException($"{_http.BaseAddress}: request {i} ended with {outcomes[i].Status} {outcomes[i].Fault}");
            if (outcomes[i].Tokens != arrivals[i].OutputTokens)
                throw new InvalidOperationException($"{_http.BaseAddress}: request {i} was answered with {outcomes[i].Tokens} tokens, not {arrivals[i].OutputTokens}.");
        }

        return new ServedRound(outcomes, seconds);
    }

    public void Dispose()
    {
        _http.Dispose();
        _handler.Dispose();
    }
}

/// <summary>What one round over HTTP measured.</summary>
internal sealed class ServedRound
{
    private readonly RequestOutcome[] _outcomes;

    /// <summary>Sums up.</summary>
    /// <param name="outcomes">All successes.</param>
    /// <param name="seconds">From the first request to the last answer.</param>
    public ServedRound(RequestOutcome[] outcomes, double seconds)
    {
        (_outcomes, Seconds) = (outcomes, seconds);
        foreach (RequestOutcome outcome in outcomes)
        {
            First.Add(outcome.FirstSeconds);
            if (outcome.Tokens > 1)
                Gap.Add(GapOf(outcome));
        }
    }

    /// <summary>Duration.</summary>
    public double Seconds { get; }

    /// <summary>Generated tokens a second over all requests.</summary>
    public double TokensPerSecond => _outcomes.Sum(outcome => (double)outcome.Tokens) / Seconds;

    /// <summary>Seconds to the first token.</summary>
    public Distribution First { get; } = new();

    /// <summary>Seconds a token after the first, mean of each request.</summary>
    public Distribution Gap { get; } = new();

    /// <summary>Requests a second that met both bounds.</summary>
    public double Goodput(double firstBound, double gapBound) =>
        _outcomes.Count(outcome => outcome.FirstSeconds <= firstBound && (outcome.Tokens < 2 || GapOf(outcome) <= gapBound)) / Seconds;

    private static double GapOf(RequestOutcome outcome) => (outcome.TotalSeconds - outcome.FirstSeconds) / (outcome.Tokens - 1);
}
