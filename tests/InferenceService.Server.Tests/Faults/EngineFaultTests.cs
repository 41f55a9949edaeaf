using System.Net;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Engine.Faults;
using InferenceService.Server.Hosting;
using InferenceService.Server.Tests.Api;
using InferenceService.Server.Tests.Telemetry;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests.Faults;

/// <summary>Faults of the engine as clients, probes, Prometheus and the log see them.</summary>
public sealed class EngineFaultTests
{
    private const string Order = """{"prompt":"Once","max_tokens":12,"temperature":0}""";

    [Fact]
    public async Task While_the_device_refuses_every_step_new_requests_get_503_and_those_in_flight_wait_and_lose_nothing()
    {
        var faults = new Faults();
        await using TestServer server = await TestServer.StartAsync(load: true, TimeProvider.System, faults, "Engine:CircuitBreak=0.5");
        using var log = new LinesOfLog();
        server.Service<ILoggerFactory>().AddProvider(log);
        string expected = Text(await ApiClient.PostAsync(server.Client, "/v1/completions", Order));

        faults.OnForward = static () => throw new InsufficientMemoryException("nothing is left, on purpose");
        Task<JsonElement> waiting = ApiClient.PostAsync(server.Client, "/v1/completions", Order);
        await Eventually.TrueAsync(() => Engine(server).OpenFor is not null && log.Lines.Any(line => line.Contains("refuses every step", StringComparison.Ordinal)));
        using HttpResponseMessage ready = await server.Client.GetAsync("/ready");
        await AssertRecoveringAsync(ready);
        using HttpResponseMessage refused = await server.Client.SendAsync(ApiClient.Request("/v1/completions", Order));
        await AssertRecoveringAsync(refused);
        foreach (string path in (string[])["/live", "/health"])
            Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync(path)).StatusCode);
        var page = PrometheusPage.Parse(await server.Client.GetStringAsync("/metrics"));
        Assert.Equal(1, page.Value("inference_engine_circuit_open"));
        Assert.True(page.Value("inference_step_retries_total") >= 12);
        Assert.Equal(1, page.Value("inference_requests_rejected_total", "reason=\"engine_recovering\""));
        Assert.False(waiting.IsCompleted);

        faults.OnForward = null;
        Assert.Equal(expected, Text(await waiting));
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/ready")).StatusCode);
        Assert.Equal(expected, Text(await ApiClient.PostAsync(server.Client, "/v1/completions", Order)));
        await Eventually.TrueAsync(() => log.Lines.Any(line => line.Contains("takes steps again", StringComparison.Ordinal)));
        Assert.Single(log.Lines, line => line.Contains("refuses every step", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_stuck_step_turns_live_to_503_is_logged_once_and_is_forgotten_when_it_ends(bool isFirst)
    {
        var faults = new Faults();
        var time = new ManualTime();
        await using TestServer server = await TestServer.StartAsync(load: true, time, faults, "Engine:Watchdog=30");
        using var log = new LinesOfLog();
        server.Service<ILoggerFactory>().AddProvider(log);
        using var gate = new ManualResetEventSlim();
        int steps = 0;
        // The first step of a quiet engine, about which no statistics say anything yet, and one in the middle.
        faults.OnForward = () =>
        {
            if (Interlocked.Increment(ref steps) == (isFirst ? 1 : 4))
                gate.Wait();
        };
        Task<JsonElement> waiting = ApiClient.PostAsync(server.Client, "/v1/completions", Order);
        try
        {
            await Eventually.TrueAsync(() => Engine(server).RunningStep is { Sequences: 1 } && Volatile.Read(ref steps) == (isFirst ? 1 : 4));
            int tokens = Engine(server).RunningStep!.Value.Tokens;
            Assert.Equal(isFirst, tokens > 1);
            time.Advance(TimeSpan.FromSeconds(29));
            Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/live")).StatusCode);
            time.Advance(TimeSpan.FromSeconds(5));
            using HttpResponseMessage live = await server.Client.GetAsync("/live");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, live.StatusCode);
            Assert.Contains("engine_stuck", await live.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            Assert.False(waiting.IsCompleted); // it goes on when the step does, or ends with the process
            string line = Assert.Single(log.Lines, line => line.Contains("has been in one step", StringComparison.Ordinal));
            Assert.Contains($"for 31.0 s, with 1 sequences and {tokens} tokens", line, StringComparison.Ordinal);
        }
        finally
        {
            gate.Set();
        }

        await waiting;
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/live")).StatusCode);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Single(log.Lines, line => line.Contains("goes on: that step took", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_crash_between_schedule_and_publish_gives_every_request_its_error_and_turns_live_to_503()
    {
        var faults = new Faults();
        await using TestServer server = await TestServer.StartAsync(load: true, TimeProvider.System, faults);
        using var log = new LinesOfLog();
        server.Service<ILoggerFactory>().AddProvider(log);
        using HttpClient client = server.NewClient();
        int steps = 0;
        faults.OnPublish = () =>
        {
            if (Interlocked.Increment(ref steps) == 1)
                throw new InvalidOperationException("a crash on purpose");
        };
        Task<HttpResponseMessage>[] requests = [.. Enumerable.Range(0, 8).Select(i =>
            client.SendAsync(ApiClient.Request("/v1/completions", $$"""{"prompt":"{{i}}","max_tokens":50,"stream":{{(i % 2 == 0 ? "true" : "false")}}}""")))];
        foreach (Task<HttpResponseMessage> request in requests)
            await AssertDeadAsync(await request, "true", "false"); // who came later had no part in the fault
        await AssertDeadAsync(await client.SendAsync(ApiClient.Request("/v1/completions", Order)), "true");
        await AssertDeadAsync(await client.GetAsync("/live"), "false");
        await AssertDeadAsync(await client.GetAsync("/ready"), "false");
        await Eventually.TrueAsync(() => log.Lines.Any(line => line.Contains("has ended with a fault", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_request_that_fails_in_the_engine_is_in_the_log_by_the_id_that_its_client_was_given(bool stream)
    {
        var faults = new Faults();
        await using TestServer server = await TestServer.StartAsync(load: true, TimeProvider.System, faults);
        using var log = new LinesOfLog();
        server.Service<ILoggerFactory>().AddProvider(log);
        faults.OnPublish = static () => throw new InvalidOperationException("a crash on purpose");
        using HttpResponseMessage answer = await server.Client.SendAsync(ApiClient.Request("/v1/completions", $"{{\"prompt\":\"Once\",\"stream\":{(stream ? "true" : "false")}}}"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        string id = answer.Headers.GetValues("x-request-id").Single();
        Assert.Single(log.Lines, line => line.Contains($"Request {id} to {TinyModel.Name} failed in the engine", StringComparison.Ordinal));
    }

    private static async Task AssertDeadAsync(HttpResponseMessage answer, params string[] retry)
    {
        string body = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == HttpStatusCode.ServiceUnavailable, body);
        Assert.Contains("engine_dead", body, StringComparison.Ordinal);
        Assert.DoesNotContain("on purpose", body, StringComparison.Ordinal);
        Assert.Contains(Assert.Single(answer.Headers.GetValues("x-should-retry")), retry);
    }

    private static async Task AssertRecoveringAsync(HttpResponseMessage answer)
    {
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        JsonElement error = JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement.GetProperty("error");
        Assert.Equal(("unavailable_error", "engine_recovering"), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString()));
        Assert.DoesNotContain("on purpose", error.GetRawText(), StringComparison.Ordinal);
        Assert.InRange(answer.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        Assert.Equal(["true"], answer.Headers.GetValues("x-should-retry"));
    }

    private static string Text(JsonElement answer) => answer.GetProperty("choices")[0].GetProperty("text").GetString()!;

    private static InferenceEngine Engine(TestServer server) => server.Service<IModelCatalog>().Models[0].Engine;

    private sealed class Faults : IFaultInjection
    {
        private volatile Action? _onForward;
        private volatile Action? _onPublish;

        public Action? OnForward { set => _onForward = value; }

        public Action? OnPublish { set => _onPublish = value; }

        public void At(FaultPoint point)
        {
            Action? action = point switch
            {
                FaultPoint.Forward => _onForward,
                FaultPoint.Publish => _onPublish,
                _ => null,
            };
            action?.Invoke();
        }
    }
}
