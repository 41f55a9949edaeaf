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
}
