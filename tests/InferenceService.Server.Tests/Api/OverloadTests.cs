using System.Net;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Api;

/// <summary>More work than the server takes: a proper refusal, and normal answers afterwards.</summary>
public sealed class OverloadTests
{
    [Fact]
    public async Task Every_request_of_a_flood_ends_as_success_or_as_a_proper_refusal()
    {
        await using TestServer server = await TestServer.StartAsync("--max-num-seqs", "4", "--max-num-queued-reqs", "16");
        using HttpClient client = server.NewClient();
        Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)>[] flood = [.. Enumerable.Range(0, 200).Select(i => SendAsync(
            client, $$"""{"prompt":"{{i}}","max_tokens":40,"stream":{{(i % 2 == 0 ? "true" : "false")}},"n":{{1 + (i % 2)}}}"""))];
        await Task.WhenAll(flood);
        int refused = 0;
        foreach (Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)> one in flood)
        {
            (HttpStatusCode status, string body, HttpResponseMessage response) = await one;
            if (status == HttpStatusCode.OK)
            {
                Assert.True(body.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal) || body.StartsWith("{\"id\"", StringComparison.Ordinal), body);
                continue;
            }

            refused++;
            Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
            JsonElement error = JsonDocument.Parse(body).RootElement.GetProperty("error");
            Assert.Equal(("overloaded_error", "server_overloaded"), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString()));
            Assert.InRange(response.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
            Assert.Equal(["true"], response.Headers.GetValues("x-should-retry"));
            Assert.InRange(int.Parse(response.Headers.GetValues("retry-after-ms").Single(), System.Globalization.CultureInfo.InvariantCulture), 2000, 60_000);
        }

        Assert.InRange(refused, 1, 199);
        Assert.Equal(refused, server.Service<InferenceMetrics>().Count(RejectionReason.QueueFull));
        await Eventually.TrueAsync(() => Engine(server).Statistics is { Running: 0, Waiting: 0 });
        await ApiClient.PostAsync(client, "/v1/completions", """{"prompt":"Once","max_tokens":2}""");
    }

    [Fact]
    public async Task The_status_of_overload_is_an_option()
    {
        await using TestServer server = await TestServer.StartAsync([.. LongModel.OneAtATime, "--max-num-queued-reqs", "1", "Admission:OverloadStatusCode=429"]);
        using HttpClient client = server.NewClient(), first = server.NewClient();
        Task<HttpResponseMessage> running = first.SendAsync(LongModel.Prefill());
        await Eventually.TrueAsync(() => Engine(server).Statistics.Running == 1);
        Task<HttpResponseMessage> waiting = client.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        await Eventually.TrueAsync(() => Engine(server).Statistics.Waiting == 1);
        using HttpResponseMessage refused = await client.SendAsync(ApiClient.Request("/v1/completions", Endless));
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        first.CancelPendingRequests();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        using HttpResponseMessage next = await waiting;
        Assert.Equal(HttpStatusCode.OK, next.StatusCode);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_request_that_waits_too_long_is_told_so(bool stream)
    {
        var time = new ManualTime();
        await using TestServer server = await TestServer.StartAsync(load: true, time, [.. LongModel.OneAtATime, "Admission:MaxQueueWait=5"]);
        using HttpClient client = server.NewClient();
        Task<HttpResponseMessage> running = client.SendAsync(LongModel.Prefill());
        await Eventually.TrueAsync(() => Engine(server).Statistics.Running == 1);
        Task<HttpResponseMessage> waiting = client.SendAsync(ApiClient.Request(
            "/v1/completions", $$"""{"prompt":"Once","max_tokens":2,"stream":{{(stream ? "true" : "false")}}}"""));
        await Eventually.TrueAsync(() => Engine(server).Statistics.Waiting == 1);
        await time.AdvanceUntilAsync(waiting);
        using HttpResponseMessage refused = await waiting;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.Contains("\"code\":\"queue_timeout\"", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await Eventually.TrueAsync(() => Engine(server).Statistics.Waiting == 0);
        await Eventually.TrueAsync(() => server.Service<InferenceMetrics>().Count(RejectionReason.QueueTimeout) == 1);
        client.CancelPendingRequests();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task A_stream_that_must_end_now_gets_an_error_event_and_is_cut()
    {
        await using TestServer server = await TestServer.StartAsync(LongModel.Flags);
        using HttpClient client = server.NewClient();
        using HttpResponseMessage response = await client.SendAsync(ApiClient.Request("/v1/completions", Endless), HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.StartsWith("{\"id\"", await ApiClient.NextAsync(reader), StringComparison.Ordinal);
        Task drain = server.Service<ServerLifecycle>().DrainAsync(TimeSpan.Zero, TimeSpan.Zero, CancellationToken.None);
        string last = "";
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (await ApiClient.NextAsync(reader) is { } data)
                last = data;
        });
        Assert.Equal("shutting_down", JsonDocument.Parse(last).RootElement.GetProperty("error").GetProperty("code").GetString());
        await drain;
        await Eventually.TrueAsync(() => Engine(server).Statistics is { Running: 0, BlocksUsed: 0 });
    }

    private static string Endless => $"{{\"prompt\":\"Once\",\"stream\":true,{LongModel.Endless}}}";

    private static async Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)> SendAsync(HttpClient client, string json)
    {
        HttpResponseMessage response = await client.SendAsync(ApiClient.Request("/v1/completions", json));
        return (response.StatusCode, await response.Content.ReadAsStringAsync(), response);
    }

    private static InferenceEngine Engine(TestServer server) => server.Service<IModelCatalog>().Models[0].Engine;
}
