using System.Net;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Engine.Faults;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace InferenceService.Server.Tests.Faults;

/// <summary>A step that does not end holds nobody who may go: requests end on time, clients leave, the process ends. What the engine owns stays its own until it comes round.</summary>
public sealed class StuckStepTests
{
    private const string Key = "sk-one-at-a-time";

    [Theory]
    [InlineData("""{"prompt":"Once",""")]
    [InlineData("""{"prompt":["Once","Twice"],"n":2,""")]
    [InlineData("""{"prompt":"Once","stream":true,""")]
    [InlineData("""{"prompt":["Once","Twice"],"stream":true,""")]
    public async Task Whose_time_is_up_is_told_so_while_a_step_hangs(string json)
    {
        var step = new HeldStep();
        var time = new ManualTime();
        await using TestServer server = await StartAsync(time, step);
        using HeldStep released = step; // before the server, which waits for it
        step.Hold();
        Task<HttpResponseMessage> sent = server.Client.SendAsync(Completion(json + "\"timeout_ms\":5000,"), HttpCompletionOption.ResponseHeadersRead);
        await HeldAsync(server, step);
        time.Advance(TimeSpan.FromSeconds(5));
        using HttpResponseMessage response = await sent;
        Assert.Equal((HttpStatusCode.GatewayTimeout, "request_timeout"), (response.StatusCode, await CodeAsync(response)));
        await AssertReleasedAsync(server, step);
    }

    [Fact]
    public async Task A_stream_whose_time_is_up_ends_with_an_error_event_and_a_cut_while_a_step_hangs()
    {
        var step = new HeldStep();
        var time = new ManualTime();
        await using TestServer server = await StartAsync(time, step);
        using HeldStep released = step; // before the server, which waits for it
        using HttpResponseMessage response = await server.Client.SendAsync(Completion("""{"prompt":"Once","stream":true,"timeout_ms":5000,"""), HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.StartsWith("{\"id\"", await ApiClient.NextAsync(reader), StringComparison.Ordinal);
        step.Hold();
        await HeldAsync(server, step);
        time.Advance(TimeSpan.FromSeconds(5));
        Assert.Contains("\"code\":\"request_timeout\"", await LastEventAsync(reader), StringComparison.Ordinal);
        await AssertReleasedAsync(server, step);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_client_that_leaves_gives_its_place_back_while_a_step_hangs(bool stream)
    {
        var step = new HeldStep();
        await using TestServer server = await StartAsync(TimeProvider.System, step, $"Auth:Keys:0:Value={Key}", "Auth:Keys:0:ConcurrentRequests=1");
        using HeldStep released = step;
        using HttpClient client = server.NewClient(Key);
        step.Hold();
        using var leave = new CancellationTokenSource();
        Task<HttpResponseMessage> sent = client.SendAsync(Completion($"{{\"prompt\":\"Once\",\"stream\":{(stream ? "true" : "false")},"), leave.Token);
        await HeldAsync(server, step);
        await Eventually.TrueAsync(() => server.Service<ActiveRequests>().All.Count() == 1); // listed behind what woke the engine
        await leave.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sent);
        await Eventually.TrueAsync(() => server.Service<ApiKeys>().All.Single().Account.UnderWay == 0);
        Assert.Empty(server.Service<ActiveRequests>().All);
        await Eventually.TrueAsync(() => server.Service<InferenceMetrics>().Count(DisconnectPhase.Prefill) == 1 && server.Service<ServerLifecycle>().InFlight == 0);
        await AssertReleasedAsync(server, step);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Requests_of_a_server_that_must_end_are_told_so_while_a_step_hangs(bool stream)
    {
        var step = new HeldStep();
        await using TestServer server = await StartAsync(TimeProvider.System, step);
        using HeldStep released = step;
        step.Hold();
        Task<HttpResponseMessage> sent = server.Client.SendAsync(Completion($"{{\"prompt\":\"Once\",\"stream\":{(stream ? "true" : "false")},"));
        await HeldAsync(server, step);
        await server.Service<ServerLifecycle>().DrainAsync(TimeSpan.Zero, TimeSpan.Zero, CancellationToken.None);
        using HttpResponseMessage response = await sent;
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "shutting_down"), (response.StatusCode, await CodeAsync(response)));
        await Eventually.TrueAsync(() => server.Service<ServerLifecycle>().InFlight == 0);
        await AssertReleasedAsync(server, step);
    }

    [Fact]
    public async Task A_server_that_is_told_to_end_while_a_step_hangs_ends_with_code_70_and_takes_nothing_from_under_the_step()
    {
        var step = new HeldStep();
        await using var server = new Life(step);
        using HeldStep released = step;
        await server.Ready;
        step.Hold();
        using var client = new HttpClient();
        HttpRequestMessage request = Completion("""{"prompt":"Once",""");
        request.RequestUri = new Uri(server.App.Urls.First() + "/v1/completions");
        Task<HttpResponseMessage> sent = client.SendAsync(request);
        await step.Held;
        InferenceEngine engine = server.App.Services.GetRequiredService<IModelCatalog>().Models[0].Engine;
        Assert.Equal(ServerRun.EngineStuck, await server.EndAsync());
        Assert.Equal("shutting_down", await CodeAsync(await sent));
        await Eventually.TrueAsync(() => engine.State == EngineState.Draining);
        step.Release();
        await engine.Ended; // with a fault, had anything been freed that the step computes with
        Assert.Equal((EngineState.Stopped, null), (engine.State, engine.Fault));
        Assert.True(engine.Statistics is { Running: 0, Waiting: 0, BlocksUsed: 0 });
    }

    [Fact]
    public async Task So_does_one_whose_very_first_step_hangs()
    {
        var step = new HeldStep();
        step.Hold();
        await using var server = new Life(step);
        using HeldStep released = step;
        await step.Held;
        Assert.Equal(ServerRun.EngineStuck, await server.EndAsync());
    }

    private static Task<TestServer> StartAsync(TimeProvider time, HeldStep step, params string[] flags) =>
        TestServer.StartAsync(load: true, time, step, [.. LongModel.Flags, .. flags]);

    private static HttpRequestMessage Completion(string json) => ApiClient.Request("/v1/completions", $"{json}{LongModel.Endless}}}");

    private static InferenceEngine Engine(TestServer server) => server.Service<IModelCatalog>().Models[0].Engine;

    private static async Task HeldAsync(TestServer server, HeldStep step)
    {
        await step.Held;
        await Eventually.TrueAsync(() => Engine(server).RunningStep is { Sequences: > 0 });
    }

    // The step is still held; when it comes back, everything does.
    private static async Task AssertReleasedAsync(TestServer server, HeldStep step)
    {
        Assert.True(Engine(server).RunningStep is { Sequences: > 0 });
        step.Release();
        await Eventually.TrueAsync(() => Engine(server).Statistics is { Running: 0, Waiting: 0, BlocksUsed: 0 });
        Assert.Equal(EngineState.Running, Engine(server).State);
    }

    private static async Task<string?> CodeAsync(HttpResponseMessage response) =>
        JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement.GetProperty("error").GetProperty("code").GetString();

    private static async Task<string?> LastEventAsync(StreamReader reader)
    {
        string? last = null;
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (await ApiClient.NextAsync(reader) is { } data)
                last = data;
        });
        return last;
    }

    /// <summary>The life of a server from start to exit code, on a clock of its own.</summary>
    private sealed class Life : IAsyncDisposable
    {
        private readonly ManualTime _time = new();
        private readonly StringWriter _error = new();
        private readonly AnnouncingWriter _output = new("curl -N ");
        private readonly Task<int> _run;

        public Life(HeldStep step)
        {
            var environment = new ProcessEnvironment { Variables = new Dictionary<string, string> { ["INFERENCE__Server__AdminPort"] = "none" } };
            ConfigurationReading reading = ConfigurationReading.Read(
                CommandLine.Parse([.. LongModel.Flags, "--port", "0", "--threads", "1", "--shutdown-timeout", "0"]), environment, AppContext.BaseDirectory);
            App = Program.Build(reading, environment, new StartupConsole(_output, _error, interactive: false), _time, step);
            _run = App.Services.GetRequiredService<ServerRun>().ServeAsync(App);
        }

        public WebApplication App { get; }

        public Task Ready => _output.Seen;

        /// <summary>Tells it to end and waits for its exit code; the clock moves only when it waits for the engine.</summary>
        public async Task<int> EndAsync()
        {
            await ((DrainingLifetime)App.Services.GetRequiredService<IHostLifetime>()).EndAsync(TimeSpan.Zero);
            await App.WaitForShutdownAsync();
            await Eventually.TrueAsync(() =>
            {
                _time.Advance(TimeSpan.FromSeconds(1));
                return _run.IsCompleted;
            });
            Assert.StartsWith($"error: the engine of {TinyModel.Name} is in a step that does not end", _error.ToString(), StringComparison.Ordinal);
            await App.DisposeAsync(); // does not wait again
            return await _run;
        }

        public async ValueTask DisposeAsync()
        {
            await App.DisposeAsync();
            await _output.DisposeAsync();
            await _error.DisposeAsync();
        }
    }

    /// <summary>Holds the engine's thread in its next forward pass until it is released.</summary>
    private sealed class HeldStep : IFaultInjection, IDisposable
    {
        private readonly ManualResetEventSlim _released = new();
        private readonly TaskCompletionSource _held = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile bool _holds;

        /// <summary>The engine's thread is in that step.</summary>
        public Task Held => _held.Task;

        public void Hold() => _holds = true;

        public void Release()
        {
            _holds = false;
            _released.Set();
        }

        public void At(FaultPoint point)
        {
            if (point != FaultPoint.Forward || !_holds)
                return;
            _held.TrySetResult();
            _released.Wait();
        }

        public void Dispose() => Release(); // whatever failed: no test ends while the engine's thread is held
    }
}
