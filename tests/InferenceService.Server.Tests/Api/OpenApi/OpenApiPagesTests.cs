using System.Net;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api.OpenApi;

public sealed class OpenApiPagesTests
{
    [Fact]
    public async Task The_document_describes_the_canonical_routes_and_the_key()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync();
        using JsonDocument document = JsonDocument.Parse(await server.Client.GetStringAsync("/openapi/v1.json"));
        string[] paths = [.. document.RootElement.GetProperty("paths").EnumerateObject().Select(path => path.Name)];
        Assert.Superset(
            new HashSet<string> { "/v1/models", "/v1/models/{id}", "/v1/completions", "/v1/chat/completions", "/health", "/live", "/ready", "/version", "/load", "/metrics" },
            paths.ToHashSet());
        JsonElement chat = document.RootElement.GetProperty("paths").GetProperty("/v1/chat/completions").GetProperty("post");
        Assert.True(chat.GetProperty("requestBody").GetProperty("content").TryGetProperty("application/json", out _));
        Assert.Equal("#/components/schemas/Error", chat.GetProperty("responses").GetProperty("default").GetProperty("content").GetProperty("application/json").GetProperty("schema").GetProperty("$ref").GetString());
        Assert.DoesNotContain("/models", paths);
        Assert.DoesNotContain("/chat/completions", paths);
        Assert.Equal("bearer", document.RootElement.GetProperty("components").GetProperty("securitySchemes").GetProperty("bearer").GetProperty("scheme").GetString());
    }

    [Fact]
    public async Task Interactive_pages_are_shown_only_when_wanted()
    {
        await using TestServer plain = await TestServer.StartWithoutModelAsync();
        Assert.Equal(HttpStatusCode.NotFound, (await plain.Client.GetAsync("/swagger/index.html")).StatusCode);
        await using TestServer shown = await TestServer.StartWithoutModelAsync("Server:SwaggerUi=true");
        HttpResponseMessage page = await shown.Client.GetAsync("/swagger/index.html");
        Assert.Equal(HttpStatusCode.OK, page.StatusCode);
        Assert.Contains("swagger-ui", await page.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }
}
