using System.Net;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests.Api;

namespace InferenceService.Server.Tests.Security;

/// <summary>What a key's own limits let through, over HTTP and with a clock of the test's own.</summary>
public sealed class KeyLimitsTests : IAsyncLifetime
{
    private const string Short = """{"prompt":"Once","max_tokens":2}""";
    private readonly ManualTime _time = new();
    private TestServer _server = null!;

    [Fact]
    public async Task Requests_beyond_a_keys_rate_are_429_until_the_time_they_are_told()
    {
        HttpClient client = await StartAsync(["k name=team requests-per-minute=2", "other"]);
        for (int i = 0; i < 2; i++)
            await ApiClient.PostAsync(client, "/v1/completions", Short);
        HttpResponseMessage refused = await client.SendAsync(ApiClient.Request("/v1/chat/completions", """{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2}"""));
        JsonElement error = await ErrorAsync(refused, HttpStatusCode.TooManyRequests);
        Assert.Equal(("rate_limit_error", "rate_limit_exceeded"), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString()));
        Assert.Contains("2 requests a minute", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(TimeSpan.FromSeconds(30), refused.Headers.RetryAfter?.Delta);
        Assert.Equal(["30000"], refused.Headers.GetValues("retry-after-ms"));
        Assert.Equal(["true"], refused.Headers.GetValues("x-should-retry"));
        Assert.Equal(("2", "0", "1m0s"), Limits(refused, "requests"));
        Assert.Equal(1, _server.Service<InferenceMetrics>().Count(RejectionReason.RateLimit));
        using HttpClient other = _server.NewClient("other");
        await ApiClient.PostAsync(other, "/v1/completions", Short);
        _time.Advance(TimeSpan.FromSeconds(30));
        await ApiClient.PostAsync(client, "/v1/completions", Short);
        string page = await other.GetStringAsync("/metrics");
        Assert.Contains("inference_key_requests_limited_total{key=\"team\"} 1", page, StringComparison.Ordinal);
        Assert.DoesNotContain("key=\"key-2\"", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tokens_are_charged_as_asked_for_and_corrected_by_what_was_used()
    {
        HttpClient client = await StartAsync(["k tokens-per-minute=100"]);
        // Ten tokens and at most eighty: the first one generated ends it.
        string early = $$"""{"prompt":[{{string.Join(',', Enumerable.Repeat(70, 10))}}],"max_tokens":80,"allowed_token_ids":[71],"stop_token_ids":[71]}""";
        HttpResponseMessage first = await client.SendAsync(ApiClient.Request("/v1/completions", early));
        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        Assert.Equal(("100", "10", "54s"), Limits(first, "tokens"));
        KeyAccount account = _server.Service<ApiKeys>().All.Single().Account;
        await Eventually.TrueAsync(() => account.UnderWay == 0);
        Assert.Equal((1, 11), (account.Ended, account.TokensUsed));
        // A refused request is told the same, and costs nothing.
        HttpResponseMessage invalid = await client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"x","temperature":9}"""));
        Assert.Equal(("100", "89", "7s"), Limits(invalid, "tokens"));
        Assert.False(invalid.Headers.Contains("x-ratelimit-limit-requests"));
        HttpResponseMessage large = await client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":[70,70],"max_tokens":90}"""));
        JsonElement error = await ErrorAsync(large, HttpStatusCode.TooManyRequests);
        Assert.Contains("100 tokens a minute, of which 89 are left; this request may use 92 (2 in the prompt, 90 in the output)", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(["1800"], large.Headers.GetValues("retry-after-ms"));
        _time.Advance(TimeSpan.FromSeconds(1.8));
        await ApiClient.PostAsync(client, "/v1/completions", """{"prompt":[70,70],"max_tokens":90,"allowed_token_ids":[71],"stop_token_ids":[71]}""");
        // More than a minute gives: it needs all of a minute, and gets it.
        await Eventually.TrueAsync(() => account.UnderWay == 0);
        _time.Advance(TimeSpan.FromMinutes(1));
        await ApiClient.PostAsync(client, "/v1/completions", """{"prompt":[70,70],"max_tokens":300,"allowed_token_ids":[71],"stop_token_ids":[71]}""");
    }

    [Fact]
    public async Task A_key_has_so_many_requests_under_way_and_no_more()
    {
        HttpClient client = await StartAsync(["k concurrent-requests=1"], LongModel.Flags);
        using HttpResponseMessage running = await client.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        HttpResponseMessage refused = await client.SendAsync(ApiClient.Request("/v1/completions", Short));
        JsonElement error = await ErrorAsync(refused, HttpStatusCode.TooManyRequests);
        Assert.Contains("1 requests at once", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(TimeSpan.FromSeconds(1), refused.Headers.RetryAfter?.Delta);
        running.Dispose();
        await Eventually.TrueAsync(() => _server.Service<ApiKeys>().All.Single().Account.UnderWay == 0);
        await ApiClient.PostAsync(client, "/v1/completions", Short);
    }

    [Fact]
    public async Task What_the_queue_refuses_is_given_back()
    {
        HttpClient client = await StartAsync(["k requests-per-minute=10 tokens-per-minute=1m"], [.. LongModel.Flags, "--max-num-seqs", "1", "--max-num-queued-reqs", "1"]);
        using HttpResponseMessage running = await client.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        Task<HttpResponseMessage> waiting = client.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        await Eventually.TrueAsync(() => _server.Service<IModelCatalog>().Models[0].Engine.Statistics.Waiting == 1);
        HttpResponseMessage refused = await client.SendAsync(ApiClient.Request("/v1/completions", Short));
        await ErrorAsync(refused, HttpStatusCode.ServiceUnavailable);
        HttpResponseMessage again = await client.SendAsync(ApiClient.Request("/v1/completions", Short));
        Assert.Equal("8", Limits(again, "requests").Remaining);
        Assert.Equal(Limits(refused, "tokens").Remaining, Limits(again, "tokens").Remaining);
        running.Dispose();
        (await waiting).Dispose();
    }

    /// <summary>Where both have the scope to generate; what each may expect is in the engine's FairSharingTests.</summary>
    [Fact]
    public async Task A_key_that_floods_neither_keeps_another_out_of_the_queue_nor_waiting_for_its_flood()
    {
        HttpClient flood = await StartAsync(["k", "other"], [.. LongModel.Flags, "--max-num-seqs", "1", "--max-num-queued-reqs", "10"]);
        InferenceEngine engine = _server.Service<IModelCatalog>().Models[0].Engine;
        HttpResponseMessage running = await flood.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        Task<HttpResponseMessage>[] sent = [.. Enumerable.Range(0, 10).Select(_ => flood.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead))];
        await Eventually.TrueAsync(() => engine.Statistics.Waiting + sent.Count(one => one.IsCompleted) == sent.Length);
        int waiting = engine.Statistics.Waiting;
        Assert.Equal(8, waiting); // four times the two places that are left
        using HttpClient other = _server.NewClient("other");
        Task<HttpResponseMessage> late = other.SendAsync(ApiClient.Request("/v1/completions", Short));
        await Eventually.TrueAsync(() => engine.Statistics.Waiting == waiting + 1);
        long generated = engine.Statistics.GeneratedTokens;
        await Eventually.TrueAsync(() => engine.Statistics.GeneratedTokens > generated);
        running.Dispose();
        Assert.Equal(HttpStatusCode.OK, (await late).StatusCode);
        int refused = 0;
        foreach (Task<HttpResponseMessage> one in sent.Where(one => one.IsCompleted))
            refused += (await one).StatusCode == HttpStatusCode.ServiceUnavailable ? 1 : 0;
        Assert.Equal(sent.Length - waiting, refused);
    }

    /// <summary>A request that is larger than its key's part of the empty queue would be told to come back for ever.</summary>
    [Theory]
    [InlineData(new[] { 1, 1, 1 }, 3, new[] { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, "n times the number of prompts must be at most 8, got 9.")]
    [InlineData(new[] { 30, 11 }, 1, new[] { 44, 5 }, "prompt must have at most 44 tokens in all its entries together, got 49.")]
    public async Task Several_prompts_that_never_fit_a_keys_part_of_the_queue_are_the_clients_mistake(int[] fits, int n, int[] never, string message)
    {
        HttpClient client = await StartAsync(["k", "other"], [.. LongModel.Flags, "--max-num-seqs", "1", "--max-num-queued-reqs", "10", "--max-num-queued-tokens", "50"]);
        using HttpClient other = _server.NewClient("other");
        using HttpResponseMessage running = await other.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        JsonElement error = await ErrorAsync(await client.SendAsync(ApiClient.Request("/v1/completions", Prompts(never, 1))), HttpStatusCode.BadRequest);
        Assert.Equal("invalid_value", error.GetProperty("code").GetString());
        Assert.Contains(message, error.GetProperty("message").GetString(), StringComparison.Ordinal);
        // What passes that check is taken while nothing waits, whoever runs.
        Task<HttpResponseMessage> waiting = client.SendAsync(ApiClient.Request("/v1/completions", Prompts(fits, n)));
        await Eventually.TrueAsync(() => _server.Service<IModelCatalog>().Models[0].Engine.Statistics.Waiting > 0 || waiting.IsCompleted);
        running.Dispose();
        Assert.Equal(HttpStatusCode.OK, (await waiting).StatusCode);
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _server.DisposeAsync();

    private static string Prompts(int[] lengths, int n) =>
        $"{{\"prompt\":[{string.Join(',', lengths.Select(length => $"\"{new string('a', length)}\""))}],\"n\":{n},\"max_tokens\":1}}";

    private static string Endless => $"{{\"prompt\":\"Once\",\"stream\":true,{LongModel.Endless}}}";

    private async Task<HttpClient> StartAsync(string[] keys, params string[] flags)
    {
        string file = Path.Combine(TinyModel.NewFolder(), "keys");
        await File.WriteAllLinesAsync(file, keys);
        _server = await TestServer.StartAsync(load: true, _time, ["--api-key-file", file, .. flags]);
        return _server.NewClient("k");
    }

    private static (string Limit, string Remaining, string Reset) Limits(HttpResponseMessage response, string of) =>
        (One(response, $"x-ratelimit-limit-{of}"), One(response, $"x-ratelimit-remaining-{of}"), One(response, $"x-ratelimit-reset-{of}"));

    private static string One(HttpResponseMessage response, string header) => Assert.Single(response.Headers.GetValues(header));

    private static async Task<JsonElement> ErrorAsync(HttpResponseMessage response, HttpStatusCode expected)
    {
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == expected, $"{response.StatusCode}: {text}");
        return JsonDocument.Parse(text).RootElement.GetProperty("error");
    }
}
