using System.Net;
using System.Text.Json;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Security;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Hosting.Pipeline;

public sealed class HostGuardTests
{
    [Theory]
    [InlineData("127.0.0.1:8000", 200)]
    [InlineData("[::1]:8000", 200)]
    [InlineData("192.0.2.7", 200)]
    [InlineData("localhost:8000", 200)]
    [InlineData("LOCALHOST.", 200)]
    [InlineData("llm.localhost", 200)]
    [InlineData("host.docker.internal:8000", 200)]
    [InlineData("box.local", 200)]
    [InlineData("llm.example.org", 200)]
    [InlineData("bound.example.org", 200)]
    [InlineData("", 200)]
    [InlineData("evil.example.net:8000", 403)]
    [InlineData("localhost.evil.example.net", 403)]
    [InlineData("127.0.0.1.evil.example.net", 403)]
    [InlineData("evillocalhost", 403)]
    [InlineData("notlocal", 403)]
    public async Task A_name_of_another_machine_does_not_pass_for_this_one(string host, int status) => Assert.Equal(status, await AskAsync(host, "127.0.0.1", []));

    [Fact]
    public async Task It_matters_only_without_keys_and_on_loopback()
    {
        Assert.Equal(403, await AskAsync("evil.example.net", "::1", []));
        Assert.Equal(200, await AskAsync("evil.example.net", "127.0.0.1", [new KeyOptions { Value = "k" }]));
        Assert.Equal(200, await AskAsync("llm.svc.cluster.example", "10.0.0.7", []));
        Assert.Equal(200, await AskAsync("evil.example.net", null, []));
        Assert.Equal(200, await AskAsync("evil.example.net", "127.0.0.1", [], "*"));
    }

    [Fact]
    public async Task The_running_server_refuses_a_rebound_name_with_the_shape_of_all_errors()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        request.Headers.Host = "evil.example.net";
        HttpResponseMessage answer = await server.Client.SendAsync(request);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        JsonElement error = JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement.GetProperty("error");
        Assert.Equal("host_not_allowed", error.GetProperty("code").GetString());
        Assert.DoesNotContain("evil", error.GetRawText(), StringComparison.Ordinal);
    }

    private static async Task<int> AskAsync(string host, string? local, KeyOptions[] keys, params string[] allowed)
    {
        var http = new DefaultHttpContext();
        http.Request.Host = new HostString(host);
        http.Connection.LocalIpAddress = local is null ? null : IPAddress.Parse(local);
        var options = new HttpOptions { Host = "bound.example.org", AllowedHosts = [.. allowed, "llm.example.org"] };
        var guard = new HostGuard(_ => Task.CompletedTask, ApiKeys.From(new AuthOptions { Keys = keys }), options);
        await guard.InvokeAsync(http);
        return http.Response.StatusCode;
    }
}
