using System.Net;
using System.Text.Json;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Pipeline;
using Microsoft.AspNetCore.Routing;

namespace InferenceService.Server.Tests.Api.Health;

[Collection(ServerCollection.Name)]
public sealed class HealthEndpointsTests(ServerFixture fixture)
{
    private readonly HttpClient _client = fixture.Server.Client;

    [Theory]
    [InlineData("/health")]
    [InlineData("/v1/health")]
    [InlineData("/ping")]
    [InlineData("/live")]
    [InlineData("/ready")]
    public async Task A_server_that_serves_answers_probes_with_an_empty_200(string path)
    {
        HttpResponseMessage answer = await _client.GetAsync(path);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Empty(await answer.Content.ReadAsByteArrayAsync());
    }

    [Fact]
    public async Task Before_the_model_is_loaded_only_live_is_well()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync();
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/live")).StatusCode);
        foreach (string path in (string[])["/health", "/v1/health", "/ping", "/ready"])
        {
            HttpResponseMessage answer = await server.Client.GetAsync(path);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
            Assert.Contains("model_loading", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            Assert.True(answer.Headers.RetryAfter?.Delta > TimeSpan.Zero);
        }
    }

    [Fact]
    public async Task A_draining_server_is_alive_but_not_ready_and_refuses_work()
    {
        await using TestServer server = await TestServer.StartAsync();
        await server.Service<ServerLifecycle>().DrainAsync(TimeSpan.Zero, TimeSpan.Zero, CancellationToken.None);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/live")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/health")).StatusCode);
        HttpResponseMessage ready = await server.Client.GetAsync("/ready");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
        Assert.Contains("shutting_down", await ready.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        string[] work = [.. server.Service<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Where(endpoint => endpoint.Metadata.GetMetadata<InferenceRoute>() is not null).Select(endpoint => endpoint.RoutePattern.RawText!)];
        Assert.Contains("/v1/chat/completions", work);
        Assert.Contains("/v1/completions", work);
        foreach (string path in work)
        {
            HttpResponseMessage answer = await server.Client.PostAsync(path, new StringContent("{}", null, "application/json"));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
            Assert.True(answer.Headers.ConnectionClose);
        }
    }

    [Fact]
    public async Task Version_tells_what_runs()
    {
        using JsonDocument body = JsonDocument.Parse(await _client.GetStringAsync("/version"));
        Assert.Equal(["version", "commit", "runtime"], body.RootElement.EnumerateObject().Select(property => property.Name));
        Assert.Equal(ServerVersion.Text, body.RootElement.GetProperty("version").GetString());
    }

    [Fact]
    public async Task Load_counts_what_is_under_way()
    {
        await using TestServer server = await TestServer.StartAsync();
        using IDisposable tracked = server.Service<ServerLifecycle>().TrackRequest();
        Assert.Equal("""{"server_load":1,"running":0,"waiting":0,"kv_cache_usage":0}""", await server.Client.GetStringAsync("/load"));
    }
}
