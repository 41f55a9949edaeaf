using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Routing;

namespace InferenceService.Server.Tests.Security;

/// <summary>A server with three keys; starts once for the class.</summary>
public sealed class GuardedServer : IAsyncLifetime
{
    public const string Key = "sk-inference";
    public const string MetricsKey = "sk-metrics";
    public const string AdminKey = "sk-admin";

    public TestServer Server { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        string file = Path.Combine(TinyModel.NewFolder(), "keys");
        await File.WriteAllTextAsync(file, $"{Key} inference\n{MetricsKey} metrics\n{AdminKey} admin\n");
        Server = await TestServer.StartAsync("--api-key-file", file, "--allowed-origins", "https://chat.example.org", "Server:SwaggerUi=true");
    }

    public async Task DisposeAsync() => await Server.DisposeAsync();
}

public sealed class BearerAuthenticationTests(GuardedServer guarded) : IClassFixture<GuardedServer>
{
    private static readonly string[] OpenRoutes = ["/health", "/live", "/ready", "/version"];
    private readonly TestServer _server = guarded.Server;

    [Fact]
    public async Task Every_route_but_the_probes_needs_a_key()
    {
        var open = new List<string>();
        int routes = 0;
        foreach (RouteEndpoint endpoint in _server.Service<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>())
        {
            string path = "/" + endpoint.RoutePattern.RawText!.TrimStart('/').Replace("{**id}", "x", StringComparison.Ordinal).Replace("{documentName}", "v1", StringComparison.Ordinal);
            Assert.DoesNotContain('{', path);
            foreach (string method in endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"])
            {
                routes++;
                HttpResponseMessage answer = await _server.Client.SendAsync(new HttpRequestMessage(new HttpMethod(method), path));
                if (answer.StatusCode != HttpStatusCode.Unauthorized)
                    open.Add(path);
                else if (method != "HEAD")
                    Assert.Equal("invalid_api_key", await CodeAsync(answer));
            }
        }

        Assert.Equal(OpenRoutes.Order(), open.Distinct().Order());
        Assert.True(routes > 30, $"only {routes} routes were found");
    }

    [Theory]
    [InlineData("/nothing/here")]
    [InlineData("/v1")]
    [InlineData("/swagger/index.html")]
    [InlineData("/admin/status")]
    public async Task Paths_that_are_no_routes_need_a_key_too(string path)
    {
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.Client.GetAsync(path)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.Client.PostAsync(path, null)).StatusCode);
    }

    [Fact]
    public async Task A_missing_and_a_wrong_key_get_the_same_answer()
    {
        HttpResponseMessage missing = await _server.Client.GetAsync("/v1/models");
        using HttpClient stranger = _server.NewClient("sk-wrong");
        HttpResponseMessage wrong = await stranger.GetAsync("/v1/models");
        Assert.Equal(HttpStatusCode.Unauthorized, missing.StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, wrong.StatusCode);
        Assert.Equal(await missing.Content.ReadAsStringAsync(), await wrong.Content.ReadAsStringAsync());
        Assert.Equal("Bearer", missing.Headers.WwwAuthenticate.ToString());
        Assert.Equal("Bearer", wrong.Headers.WwwAuthenticate.ToString());
        Assert.True(missing.Headers.Contains("x-request-id"));
    }

    [Theory]
    [InlineData("Authorization", "Bearer sk-inference")]
    [InlineData("Authorization", "bearer   sk-inference")]
    [InlineData("api-key", "sk-inference")]
    [InlineData("x-api-key", "sk-inference")]
    public async Task A_key_opens_the_door_in_any_of_the_usual_headers(string header, string value)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        request.Headers.TryAddWithoutValidation(header, value);
        Assert.Equal(HttpStatusCode.OK, (await _server.Client.SendAsync(request)).StatusCode);
    }

    [Theory]
    [InlineData("Authorization", "Basic c2staW5mZXJlbmNl")]
    [InlineData("Authorization", "sk-inference")]
    [InlineData("Authorization", "Bearer ")]
    [InlineData("Authorization", "Bearer sk-inference sk-inference")]
    [InlineData("api-key", "SK-INFERENCE")]
    public async Task Anything_else_does_not(string header, string value)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        request.Headers.TryAddWithoutValidation(header, value);
        Assert.Equal(HttpStatusCode.Unauthorized, (await _server.Client.SendAsync(request)).StatusCode);
    }

    [Theory]
    [InlineData(GuardedServer.Key, "/v1/models", HttpStatusCode.OK)]
    [InlineData(GuardedServer.Key, "/metrics", HttpStatusCode.Forbidden)]
    [InlineData(GuardedServer.Key, "/load", HttpStatusCode.Forbidden)]
    [InlineData(GuardedServer.MetricsKey, "/metrics", HttpStatusCode.OK)]
    [InlineData(GuardedServer.MetricsKey, "/load", HttpStatusCode.OK)]
    [InlineData(GuardedServer.MetricsKey, "/v1/models", HttpStatusCode.Forbidden)]
    [InlineData(GuardedServer.AdminKey, "/metrics", HttpStatusCode.OK)]
    [InlineData(GuardedServer.AdminKey, "/v1/models", HttpStatusCode.Forbidden)]
    [InlineData(GuardedServer.Key, "/nothing/here", HttpStatusCode.NotFound)]
    public async Task Scopes_decide_what_a_key_opens(string key, string path, HttpStatusCode expected)
    {
        using HttpClient client = _server.NewClient(key);
        HttpResponseMessage answer = await client.GetAsync(path);
        Assert.Equal(expected, answer.StatusCode);
        if (expected == HttpStatusCode.Forbidden)
            Assert.Equal("insufficient_permissions", await CodeAsync(answer));
    }

    [Fact]
    public async Task Preflights_carry_no_key_and_only_listed_origins_pass()
    {
        HttpResponseMessage listed = await PreflightAsync("https://chat.example.org");
        Assert.Equal(HttpStatusCode.NoContent, listed.StatusCode);
        Assert.Equal("https://chat.example.org", listed.Headers.GetValues("Access-Control-Allow-Origin").Single());
        Assert.False(listed.Headers.Contains("Access-Control-Allow-Credentials"));
        HttpResponseMessage stranger = await PreflightAsync("https://evil.example.org");
        Assert.False(stranger.Headers.Contains("Access-Control-Allow-Origin"));
    }

    [Fact]
    public async Task Options_without_cors_is_a_plain_405()
    {
        await using TestServer plain = await TestServer.StartWithoutModelAsync("--api-key", "k");
        HttpResponseMessage answer = await plain.Client.SendAsync(new HttpRequestMessage(HttpMethod.Options, "/v1/models"));
        Assert.Equal(HttpStatusCode.MethodNotAllowed, answer.StatusCode);
        Assert.Equal("method_not_allowed", await CodeAsync(answer));
    }

    [Fact]
    public async Task Metrics_can_be_opened()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync("--api-key", "k", "Auth:OpenMetrics=true");
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/metrics")).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.Client.GetAsync("/load")).StatusCode);
    }

    private Task<HttpResponseMessage> PreflightAsync(string origin)
    {
        var request = new HttpRequestMessage(HttpMethod.Options, "/v1/models");
        request.Headers.Add("Origin", origin);
        request.Headers.Add("Access-Control-Request-Method", "GET");
        request.Headers.Add("Access-Control-Request-Headers", "authorization,x-stainless-lang");
        return _server.Client.SendAsync(request);
    }

    private static async Task<string?> CodeAsync(HttpResponseMessage answer)
    {
        using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        return body.RootElement.GetProperty("error").GetProperty("code").GetString();
    }
}
