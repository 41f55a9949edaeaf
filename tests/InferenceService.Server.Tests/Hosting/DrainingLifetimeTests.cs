using System.Net;
using System.Net.Sockets;
using System.Text;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests.Api;
using Microsoft.Extensions.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class DrainingLifetimeTests
{
    private const int Streams = 20;

    [Fact]
    public async Task Streams_under_way_are_finished_before_the_server_ends()
    {
        await using TestServer server = await TestServer.StartAsync("--max-num-seqs", "8");
        using HttpClient client = server.NewClient();
        StreamReader[] streams = await OpenAsync(client, tokens: 60);
        Task end = Lifetime(server).EndAsync(TimeSpan.Zero);
        string[] bodies = await Task.WhenAll(streams.Select(stream => stream.ReadToEndAsync()));
        Assert.All(bodies, body => Assert.EndsWith("data: [DONE]\n\n", body, StringComparison.Ordinal));
        await end;
        Assert.True(server.Service<IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested);
    }

    [Fact]
    public async Task New_work_is_refused_while_streams_are_finished()
    {
        await using TestServer server = await TestServer.StartAsync(LongModel.Flags);
        using HttpClient client = server.NewClient();
        StreamReader[] streams = await OpenAsync(client, tokens: 150_000, count: 1);
        Task end = Lifetime(server).EndAsync(TimeSpan.Zero);
        HttpResponseMessage refused = await server.Client.PostAsync("/v1/completions", Body(1));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.Contains("shutting_down", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.Client.GetAsync("/ready")).StatusCode);
        Assert.False(end.IsCompleted);
        streams[0].Dispose();
        await end;
    }

    [Fact]
    public async Task What_outlives_the_timeout_ends_with_an_error_event()
    {
        await using TestServer server = await TestServer.StartAsync([.. LongModel.Flags, "--shutdown-timeout", "0"]);
        using HttpClient client = server.NewClient();
        StreamReader[] streams = await OpenAsync(client, tokens: 150_000, count: 3);
        Task end = Lifetime(server).EndAsync(TimeSpan.Zero);
        foreach (StreamReader stream in streams)
        {
            var seen = new StringBuilder();
            try
            {
                while (await stream.ReadLineAsync() is { } line)
                    seen.AppendLine(line);
            }
            catch (IOException)
            {
                // The connection is cut after the event, so that no client takes the part for the whole.
            }

            Assert.Contains("\"code\":\"shutting_down\"", seen.ToString(), StringComparison.Ordinal);
            Assert.DoesNotContain("[DONE]", seen.ToString(), StringComparison.Ordinal);
        }

        await end;
    }

    [Fact]
    public async Task A_request_whose_body_is_still_arriving_is_told_that_the_server_ends()
    {
        await using TestServer server = await TestServer.StartAsync("--shutdown-timeout", "0");
        using var socket = new TcpClient();
        await socket.ConnectAsync(server.Address.Host, server.Address.Port);
        NetworkStream stream = socket.GetStream();
        await stream.WriteAsync("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"prompt\":"u8.ToArray());
        await Eventually.TrueAsync(() => server.Service<ServerLifecycle>().InFlight == 1);
        Task end = Lifetime(server).EndAsync(TimeSpan.Zero);
        using var reader = new StreamReader(stream);
        Assert.Equal("HTTP/1.1 503 Service Unavailable", await reader.ReadLineAsync());
        var answer = new StringBuilder();
        while (await reader.ReadLineAsync() is { Length: > 0 } line) // the head: how the connection ends behind the body is not looked at
            answer.AppendLine(line);
        Assert.Contains("Connection: close", answer.ToString(), StringComparison.Ordinal);
        Assert.Contains("x-should-retry: true", answer.ToString(), StringComparison.Ordinal);
        await end;
        Assert.Equal(1, server.Service<InferenceMetrics>().Count(RejectionReason.ShuttingDown));
    }

    [Fact]
    public async Task A_name_that_no_model_has_stays_the_clients_mistake_while_the_server_ends()
    {
        await using TestServer server = await TestServer.StartAsync();
        using var hurry = new CancellationTokenSource();
        Task drain = server.Service<ServerLifecycle>().DrainAsync(TimeSpan.FromDays(1), TimeSpan.Zero, hurry.Token);
        foreach (string path in (string[])["/v1/completions", "/tokenize"])
        {
            using var body = new StringContent("""{"model":"nobody","prompt":"Once"}""", Encoding.UTF8, "application/json");
            using HttpResponseMessage answer = await server.Client.PostAsync(path, body);
            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
            Assert.Contains("\"code\":\"model_not_found\"", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        await hurry.CancelAsync();
        await drain;
    }

    private static DrainingLifetime Lifetime(TestServer server) => (DrainingLifetime)server.Service<IHostLifetime>();

    private static StringContent Body(int tokens) =>
        new($$"""{"prompt":"Once","max_tokens":{{tokens}},"ignore_eos":true,"stream":true}""", Encoding.UTF8, "application/json");

    // Returns once every stream has sent its first line.
    private static async Task<StreamReader[]> OpenAsync(HttpClient client, int tokens, int count = Streams)
    {
        return await Task.WhenAll(Enumerable.Range(0, count).Select(async _ =>
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = Body(tokens) };
            HttpResponseMessage answer = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            answer.EnsureSuccessStatusCode();
            var reader = new StreamReader(await answer.Content.ReadAsStreamAsync());
            Assert.StartsWith("data: ", await reader.ReadLineAsync(), StringComparison.Ordinal);
            return reader;
        }));
    }
}
