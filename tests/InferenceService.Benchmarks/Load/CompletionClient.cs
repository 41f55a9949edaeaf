using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Serialization;

namespace InferenceService.Benchmarks.Load;

/// <summary>Streams one <c>/v1/completions</c> request and notes when each event came. Works against any OpenAI-compatible server.</summary>
internal sealed class CompletionClient(HttpClient http, string model, int tokenIds, string? apiKey)
{
    /// <summary>What a request says about prompt caching, for servers that take it there; null = nothing.</summary>
    public bool? CachePrompt { get; init; }

    /// <summary>Ask for usage at the end of a stream.</summary>
    public bool AsksUsage { get; init; }

    /// <param name="index">Seeds the made-up prompt: ids in [<c>3</c>, tokenIds).</param>
    public async Task<RequestOutcome> RunAsync(Arrival arrival, int index, CancellationToken cancellation)
    {
        var random = new Random(index);
        int[] prompt = new int[arrival.PromptTokens];
        for (int i = 0; i < prompt.Length; i++)
            prompt[i] = random.Next(3, tokenIds);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new CompletionBody(model, prompt, arrival.OutputTokens, true, true, 0, CachePrompt, AsksUsage ? new StreamOptions(true) : null), LoadJson.Default.CompletionBody),
        };
        if (apiKey is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);

        long began = Stopwatch.GetTimestamp();
        try
        {
            using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                string body = await response.Content.ReadAsStringAsync(cancellation);
                bool proper = body.Contains("\"error\"", StringComparison.Ordinal);
                return RequestOutcome.Refused((int)response.StatusCode, proper, response.Headers.RetryAfter is not null);
            }

            return await ReadEventsAsync(response, began, cancellation);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            return RequestOutcome.Broken(e.GetType().Name);
        }
    }

    private static async Task<RequestOutcome> ReadEventsAsync(HttpResponseMessage response, long began, CancellationToken cancellation)
    {
        var gaps = new List<double>();
        double first = 0, last = 0;
        int tokens = 0;
        bool done = false, error = false;
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancellation));
        while (await reader.ReadLineAsync(cancellation) is { } line)
        {
            if (!line.StartsWith("data: ", StringComparison.Ordinal))
                continue;
            if (line == "data: [DONE]")
            {
                done = true;
                continue;
            }

            // Usage comes in an event of its own after the last token.
            if (UsageLine.TryRead(line, out int counted))
                tokens = counted;
            if (line.Contains("\"choices\":[]", StringComparison.Ordinal))
                continue;
            double now = Stopwatch.GetElapsedTime(began).TotalSeconds;
            error |= line.StartsWith("data: {\"error\"", StringComparison.Ordinal);
            if (first == 0)
                first = now;
            else
                gaps.Add(now - last);
            last = now;
        }

        return done && !error
            ? new RequestOutcome(200, true, false, first, last, gaps, null) { Tokens = tokens }
            : RequestOutcome.Broken(error ? "error event" : "stream ended without [DONE]");
    }
}

/// <summary>Body of a streaming completion; <c>ignore_eos</c> makes lengths exact.</summary>
internal sealed record CompletionBody(
    [property: JsonPropertyName("model")] string Model,
    [property: JsonPropertyName("prompt")] int[] Prompt,
    [property: JsonPropertyName("max_tokens")] int MaxTokens,
    [property: JsonPropertyName("stream")] bool Stream,
    [property: JsonPropertyName("ignore_eos")] bool IgnoreEos,
    [property: JsonPropertyName("temperature")] double Temperature,
    [property: JsonPropertyName("cache_prompt"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] bool? CachePrompt,
    [property: JsonPropertyName("stream_options"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] StreamOptions? StreamOptions);

/// <summary>Options of a stream.</summary>
internal sealed record StreamOptions([property: JsonPropertyName("include_usage")] bool IncludeUsage);

[JsonSerializable(typeof(CompletionBody))]
internal sealed partial class LoadJson : JsonSerializerContext;

/// <summary>How one request ended.</summary>
/// <param name="Status">HTTP status; 0 = the connection broke.</param>
/// <param name="Proper">A success with <c>[DONE]</c>, or a refusal in the API's error shape.</param>
/// <param name="RetryAfter">A refusal said when to come back.</param>
/// <param name="FirstSeconds">Time to the first event.</param>
/// <param name="TotalSeconds">Time to the last event.</param>
/// <param name="Gaps">Seconds between events.</param>
/// <param name="Fault">What broke, when something did.</param>
internal sealed record RequestOutcome(
    int Status, bool Proper, bool RetryAfter, double FirstSeconds, double TotalSeconds, List<double> Gaps, string? Fault)
{
    /// <summary>Generated tokens as the server counted them; 0 when it was not asked.</summary>
    public int Tokens { get; init; }

    public static RequestOutcome Refused(int status, bool proper, bool retryAfter) => new(status, proper, retryAfter, 0, 0, [], null);

    public static RequestOutcome Broken(string fault) => new(0, false, false, 0, 0, [], fault);
}
