using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>
/// A client that costs little, since it shares the machine with the server: bodies made beforehand, streams read as bytes and looked at at
/// their ends only.
/// </summary>
internal sealed class OverloadClient
{
    private const int Bodies = 256, TokenIds = 4000, FirstTokenId = 16;
    private static readonly byte[] Done = "data: [DONE]\n\n"u8.ToArray();

    private readonly HttpClient _http;
    private readonly byte[][] _bodies;
    private readonly double _firstBound;
    private int _next;

    /// <summary>A client of a server that is ready.</summary>
    public OverloadClient(HttpClient http, OverloadOptions options)
    {
        (_http, _firstBound) = (http, options.FirstBound);
        var random = new Random(1);
        _bodies = [.. Enumerable.Range(0, Bodies).Select(_ => Encoding.UTF8.GetBytes(
            $"{{\"prompt\":[{string.Join(',', Enumerable.Range(0, options.PromptTokens).Select(_ => random.Next(FirstTokenId, TokenIds)))}],"
            + $"\"max_tokens\":{options.OutputTokens},\"ignore_eos\":true,\"temperature\":0,\"stream\":true}}"))];
    }

    /// <summary>Sends one request and counts its end.</summary>
    public async Task RunAsync(OverloadTally tally, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        try
        {
            var content = new ByteArrayContent(_bodies[Interlocked.Increment(ref _next) % Bodies]);
            content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = content };
            using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
            if (response.StatusCode == HttpStatusCode.OK)
            {
                // Headers go out with the first token.
                double first = Stopwatch.GetElapsedTime(began).TotalSeconds;
                if (await EndsWithDoneAsync(response, cancellation))
                    tally.Answered(first, first <= _firstBound);
                else
                    tally.Broken("a stream without [DONE]");
                return;
            }

            ErrorBody error = await ErrorBody.ReadAsync(response, cancellation);
            double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            if (error.IsNotNow && error.Fault is null)
                tally.Refused(error.Code!, seconds);
            else
                tally.Broken($"status {error.Status} {error.Code} {error.Fault}");
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException)
        {
            tally.Broken($"{exception.GetType().Name}: {exception.Message}");
        }
    }

    private static async Task<bool> EndsWithDoneAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancellation);
        byte[] buffer = new byte[4096];
        byte[] end = new byte[Done.Length];
        int read;
        while ((read = await stream.ReadAsync(buffer, cancellation)) > 0)
            Keep(end, buffer.AsSpan(0, read));
        return end.AsSpan().SequenceEqual(Done);
    }

    // The last bytes seen.
    private static void Keep(byte[] end, ReadOnlySpan<byte> read)
    {
        if (read.Length >= end.Length)
        {
            read[^end.Length..].CopyTo(end);
            return;
        }

        end.AsSpan(read.Length).CopyTo(end);
        read.CopyTo(end.AsSpan(end.Length - read.Length));
    }
}

/// <summary>How requests of one phase ended. Any thread.</summary>
internal sealed class OverloadTally
{
    private readonly Lock _lock = new();
    private bool _counts;

    /// <summary>Complete streams whose first token came in time.</summary>
    public int Good { get; private set; }

    /// <summary>Complete streams.</summary>
    public int Complete { get; private set; }

    /// <summary>Proper refusals by code.</summary>
    public SortedDictionary<string, int> Refusals { get; } = new(StringComparer.Ordinal);

    /// <summary>Seconds until a refusal was there as a whole.</summary>
    public Distribution RefusalSeconds { get; } = new();

    /// <summary>Seconds until the first token.</summary>
    public Distribution FirstSeconds { get; } = new();

    /// <summary>Ends that must not be, counted at any time.</summary>
    public SortedDictionary<string, int> Faults { get; } = new(StringComparer.Ordinal);

    /// <summary>From now on ends count, or no longer.</summary>
    public void Count(bool counts)
    {
        lock (_lock)
            _counts = counts;
    }

    /// <summary>A stream came to its end.</summary>
    public void Answered(double firstSeconds, bool isGood)
    {
        lock (_lock)
        {
            if (!_counts)
                return;
            Complete++;
            Good += isGood ? 1 : 0;
            FirstSeconds.Add(firstSeconds);
        }
    }

    /// <summary>A request was refused as it should be.</summary>
    public void Refused(string code, double seconds)
    {
        lock (_lock)
        {
            if (!_counts)
                return;
            Refusals[code] = Refusals.GetValueOrDefault(code) + 1;
            RefusalSeconds.Add(seconds);
        }
    }

    /// <summary>A request ended otherwise.</summary>
    public void Broken(string how)
    {
        lock (_lock)
            Faults[how] = Faults.GetValueOrDefault(how) + 1;
    }
}
