using System.Net;
using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Api;

/// <summary>A client that leaves gives everything back, wherever its request stands.</summary>
public sealed class DisconnectTests
{
    private const string Endless = LongModel.Endless;
    private static readonly string[] Long = LongModel.Flags;

    [Theory]
    [InlineData("""{"prompt":"Once","stream":true,""")]
    [InlineData("""{"prompt":"Once",""")]
    [InlineData("""{"prompt":"Once","n":8,"stream":true,""")]
    [InlineData("""{"prompt":"Once","n":8,""")]
    [InlineData("""{"prompt":["Once","Twice","Thrice"],"n":2,"stream":true,""")]
    public async Task In_decode(string json)
    {
        await using TestServer server = await TestServer.StartAsync(Long);
        InferenceEngine engine = Engine(server);
        long before = engine.Statistics.GeneratedTokens;
        using HttpClient client = server.NewClient();
        using var leave = new CancellationTokenSource();
        Task request = SendAsync(client, json + Endless + "}", leave.Token);
        await Eventually.TrueAsync(() => engine.Statistics.GeneratedTokens > before + 20);
        await LeaveAsync(request, leave);
        await AssertAllBackAsync(server, DisconnectPhase.Decode);
    }

    [Fact]
    public async Task In_the_queue()
    {
        await using TestServer server = await TestServer.StartAsync(LongModel.OneAtATime);
        InferenceEngine engine = Engine(server);
        using HttpClient client = server.NewClient();
        using var leaveFirst = new CancellationTokenSource();
        // In its prefill: a request that streams tokens makes way for a waiting one whenever its client reads too slowly.
        Task first = SendAsync(client, $"{{{LongModel.Prompt},\"stream\":true}}", leaveFirst.Token);
        await Eventually.TrueAsync(() => engine.Statistics.Running == 1);
        using var leaveSecond = new CancellationTokenSource();
        Task second = SendAsync(client, $"{{\"prompt\":\"Once\",\"stream\":true,{Endless}}}", leaveSecond.Token);
        await Eventually.TrueAsync(() => engine.Statistics.Waiting == 1);
        await LeaveAsync(second, leaveSecond);
        await Eventually.TrueAsync(() => engine.Statistics.Waiting == 0 && Metrics(server).Count(DisconnectPhase.Queue) == 1);
        await LeaveAsync(first, leaveFirst);
        await AssertAllBackAsync(server, DisconnectPhase.Prefill);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task In_prefill(bool stream)
    {
        await using TestServer server = await TestServer.StartAsync(LongModel.OneAtATime);
        InferenceEngine engine = Engine(server);
        using HttpClient client = server.NewClient();
        using var leave = new CancellationTokenSource();
        long steps = engine.Statistics.Steps;
        Task request = SendAsync(client, $"{{{LongModel.Prompt},\"stream\":{(stream ? "true" : "false")}}}", leave.Token);
        await Eventually.TrueAsync(() => engine.Statistics.Steps > steps + 2);
        await LeaveAsync(request, leave);
        await AssertAllBackAsync(server, DisconnectPhase.Prefill);
    }

    [Fact]
    public async Task After_a_storm_of_random_aborts_nothing_is_owned()
    {
        await using TestServer server = await TestServer.StartAsync("--max-num-seqs", "4");
        using HttpClient client = server.NewClient();
        InferenceEngine engine = Engine(server);
        var random = new Random(17);
        var running = new List<Task>();
        for (int i = 0; i < 60; i++)
        {
            var leave = new CancellationTokenSource();
            string json = $$"""{"prompt":"{{new string((char)('a' + random.Next(26)), random.Next(1, 400))}}","max_tokens":{{random.Next(1, 300)}},"n":{{random.Next(1, 4)}},"stream":{{(random.Next(2) == 0 ? "true" : "false")}}}""";
            Task request = SendAsync(client, json, leave.Token);
            long target = engine.Statistics.Steps + random.Next(0, 12);
            running.Add(LeaveLaterAsync(request, leave, () => engine.Statistics.Steps >= target || request.IsCompleted));
            if (running.Count >= 12)
            {
                Task done = await Task.WhenAny(running);
                running.Remove(done);
                await done;
            }
        }

        await Task.WhenAll(running);
        await Eventually.TrueAsync(() => engine.Statistics is { Running: 0, Waiting: 0, BlocksUsed: 0 });
        Assert.Equal(EngineState.Running, engine.State);
        await ApiClient.PostAsync(client, "/v1/completions", """{"prompt":"Once","max_tokens":2}""");
    }

    private static async Task LeaveLaterAsync(Task request, CancellationTokenSource leave, Func<bool> when)
    {
        await Eventually.TrueAsync(when);
        await LeaveAsync(request, leave);
        leave.Dispose();
    }

    /// <summary>Sends and reads to the end, unless cancelled, which closes the connection.</summary>
    private static async Task SendAsync(HttpClient client, string json, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await client.SendAsync(ApiClient.Request("/v1/completions", json), HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        await response.Content.CopyToAsync(Stream.Null, cancellationToken);
    }

    private static async Task LeaveAsync(Task request, CancellationTokenSource leave)
    {
        await leave.CancelAsync();
        try
        {
            await request;
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException or IOException)
        {
            // That is what leaving looks like from the client's side.
        }
    }

    private static async Task AssertAllBackAsync(TestServer server, DisconnectPhase phase)
    {
        InferenceEngine engine = Engine(server);
        await Eventually.TrueAsync(() => engine.Statistics is { Running: 0, Waiting: 0, BlocksUsed: 0 });
        await Eventually.TrueAsync(() => Metrics(server).Count(phase) >= 1);
        await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"Once","max_tokens":2}""");
    }

    private static InferenceEngine Engine(TestServer server) => server.Service<IModelCatalog>().Models[0].Engine;

    private static InferenceMetrics Metrics(TestServer server) => server.Service<InferenceMetrics>();
}
