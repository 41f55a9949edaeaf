using System.Net;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests.Api;

/// <summary>A request's time is up: it is told so, and the engine works no more for it.</summary>
public sealed class RequestTimeoutTests : IAsyncLifetime
{
    private readonly ManualTime _time = new();
    private TestServer _server = null!;

    [Theory]
    [InlineData(",\"timeout_ms\":5000", null, 5)]
    [InlineData("", "5000", 5)]
    [InlineData(",\"timeout_ms\":5000", "1000", 5)]
    [InlineData(",\"timeout_ms\":null", "1000", 1)]
    [InlineData("", null, 30)]
    [InlineData(",\"timeout_ms\":86400000", null, 30)]
    public async Task A_running_request_ends_when_its_own_or_the_servers_time_is_up(string field, string? header, int seconds)
    {
        await StartAsync("Admission:RequestTimeout=30");
        Task<HttpResponseMessage> sent = SendAsync($"{{\"prompt\":\"Once\",{LongModel.Endless}{field}}}", header);
        await Eventually.TrueAsync(() => Engine.Statistics.Running == 1);
        _time.Advance(TimeSpan.FromSeconds(seconds - 0.5));
        Assert.Equal(1, Engine.Statistics.Running);
        _time.Advance(TimeSpan.FromSeconds(0.5));
        await AssertTimeoutAsync(await sent, seconds);
        await Eventually.TrueAsync(() => Engine.Statistics is { Running: 0, BlocksUsed: 0 });
        await Eventually.TrueAsync(() => _server.Service<InferenceMetrics>().Count(RejectionReason.RequestTimeout) == 1);
    }

    [Fact]
    public async Task A_stream_that_has_begun_ends_with_an_error_event_and_a_cut()
    {
        await StartAsync();
        using HttpResponseMessage response = await SendAsync($"{{\"prompt\":\"Once\",\"stream\":true,\"timeout_ms\":5000,{LongModel.Endless}}}", null);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.StartsWith("{\"id\"", await ApiClient.NextAsync(reader), StringComparison.Ordinal);
        // It sends without a pause, so that nobody waits who could look at the time.
        _time.Advance(TimeSpan.FromSeconds(5));
        string? last = null;
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (await ApiClient.NextAsync(reader) is { } data)
                last = data;
        });
        Assert.Contains("\"code\":\"request_timeout\"", last, StringComparison.Ordinal);
        await Eventually.TrueAsync(() => Engine.Statistics is { Running: 0, BlocksUsed: 0 });
    }

    [Fact]
    public async Task A_stream_that_was_cut_is_no_unhandled_exception_in_the_log()
    {
        await StartAsync();
        using var log = new LinesOfLog();
        ILoggerFactory loggers = _server.Service<ILoggerFactory>();
        loggers.AddProvider(log);
        using HttpResponseMessage response = await SendAsync($"{{\"prompt\":\"Once\",\"stream\":true,\"timeout_ms\":5000,{LongModel.Endless}}}", null);
        _time.Advance(TimeSpan.FromSeconds(5));
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => response.Content.ReadAsStringAsync());
        ILogger webServer = loggers.CreateLogger("Microsoft.AspNetCore.Server.Kestrel");
        webServer.Log(LogLevel.Error, default, "An unhandled exception", new InvalidOperationException("a mistake"), static (text, _) => text);
        Assert.Contains("a mistake", Assert.Single(log.Lines, line => line.Contains("unhandled", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.DoesNotContain(log.Lines, line => line.Contains("StreamCutException", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_waiting_request_ends_too()
    {
        await StartAsync("--max-num-seqs", "1", "--max-num-batched-tokens", "16");
        using HttpClient first = _server.NewClient();
        Task<HttpResponseMessage> running = first.SendAsync(LongModel.Prefill());
        await Eventually.TrueAsync(() => Engine.Statistics.Running == 1);
        Task<HttpResponseMessage> sent = SendAsync("""{"prompt":"Once","max_tokens":2}""", "5000");
        await Eventually.TrueAsync(() => Engine.Statistics.Waiting == 1);
        _time.Advance(TimeSpan.FromSeconds(5));
        await AssertTimeoutAsync(await sent, 5);
        await Eventually.TrueAsync(() => Engine.Statistics.Waiting == 0); // published behind the end that the client was told
        first.CancelPendingRequests();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task The_time_runs_from_the_arrival_of_a_request_and_not_from_the_end_of_its_upload()
    {
        await StartAsync();
        var body = new System.IO.Pipelines.Pipe();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StreamContent(body.Reader.AsStream()) };
        request.Content.Headers.ContentType = new("application/json");
        request.Headers.TransferEncodingChunked = true;
        request.Headers.ExpectContinue = true; // its headers go out alone
        await body.Writer.WriteAsync("{\"prompt\":\"Once\","u8.ToArray());
        Task<HttpResponseMessage> sent = _server.Client.SendAsync(request);
        await Eventually.TrueAsync(() => _server.Service<ServerLifecycle>().InFlight == 1);
        _time.Advance(TimeSpan.FromSeconds(3));
        await body.Writer.WriteAsync(System.Text.Encoding.UTF8.GetBytes($"\"timeout_ms\":5000,{LongModel.Endless}}}"));
        await body.Writer.CompleteAsync();
        await Eventually.TrueAsync(() => Engine.Statistics.Running == 1);
        _time.Advance(TimeSpan.FromSeconds(2));
        await AssertTimeoutAsync(await sent, 5);
    }

    [Theory]
    [InlineData(",\"timeout_ms\":0", null, "timeout_ms")]
    [InlineData(",\"timeout_ms\":\"5s\"", null, "timeout_ms")]
    [InlineData("", "-1", "x-inference-timeout-ms")]
    [InlineData("", "soon", "x-inference-timeout-ms")]
    public async Task A_time_that_is_none_is_refused(string field, string? header, string param)
    {
        await StartAsync();
        using HttpResponseMessage response = await SendAsync($"{{\"prompt\":\"Once\",\"max_tokens\":1{field}}}", header);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains($"\"param\":\"{param}\"", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _server.DisposeAsync();

    private InferenceEngine Engine => _server.Service<IModelCatalog>().Models[0].Engine;

    private async Task StartAsync(params string[] flags) => _server = await TestServer.StartAsync(load: true, _time, [.. LongModel.Flags, .. flags]);

    private Task<HttpResponseMessage> SendAsync(string json, string? header)
    {
        HttpRequestMessage request = ApiClient.Request("/v1/completions", json);
        if (header is not null)
            request.Headers.Add("x-inference-timeout-ms", header);
        return _server.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }

    private static async Task AssertTimeoutAsync(HttpResponseMessage response, int seconds)
    {
        Assert.Equal(HttpStatusCode.GatewayTimeout, response.StatusCode);
        Assert.Equal(["false"], response.Headers.GetValues("x-should-retry"));
        JsonElement error = JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement.GetProperty("error");
        Assert.Equal(("timeout_error", "request_timeout"), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString()));
        Assert.Contains($"time limit of {seconds} s", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }
}
