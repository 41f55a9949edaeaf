using System.Net;

namespace InferenceService.Server.Tests;

public sealed class TestServerTests
{
    [Fact]
    public async Task A_server_without_model_listens_and_says_that_it_loads()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync();
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/live")).StatusCode);
        HttpResponseMessage ready = await server.Client.GetAsync("/ready");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
        Assert.Contains("\"code\":\"model_loading\"", await ready.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_root_path_may_stand_before_every_route()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync("--root-path", "/llm");
        foreach (string path in (string[])["/llm/live", "/live", "/llm/v1/models", "/llm/models/"])
            Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync(path)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await server.Client.GetAsync("/other/live")).StatusCode);
    }
}
