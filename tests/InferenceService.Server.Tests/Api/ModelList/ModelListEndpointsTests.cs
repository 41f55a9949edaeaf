using System.Net;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api.ModelList;

/// <summary>A server whose model has two names, one with a slash; starts once for the class.</summary>
public sealed class TwoNames : IAsyncLifetime
{
    public TestServer Server { get; private set; } = null!;

    public async Task InitializeAsync() => Server = await TestServer.StartAsync("--served-model-name", "org/name", "alias");

    public async Task DisposeAsync() => await Server.DisposeAsync();
}

public sealed class ModelListEndpointsTests(TwoNames names) : IClassFixture<TwoNames>
{
    private readonly HttpClient _client = names.Server.Client;

    [Theory]
    [InlineData("/v1/models")]
    [InlineData("/models")]
    public async Task Every_name_is_listed(string path)
    {
        using JsonDocument body = JsonDocument.Parse(await _client.GetStringAsync(path));
        Assert.Equal("list", body.RootElement.GetProperty("object").GetString());
        JsonElement[] models = [.. body.RootElement.GetProperty("data").EnumerateArray()];
        Assert.Equal(["org/name", "alias"], models.Select(model => model.GetProperty("id").GetString()));
        Assert.All(models, model =>
        {
            Assert.Equal("model", model.GetProperty("object").GetString());
            Assert.True(model.GetProperty("created").GetInt64() > 1_700_000_000);
            Assert.Equal("org/name", model.GetProperty("root").GetString());
            Assert.Equal(JsonValueKind.Null, model.GetProperty("parent").ValueKind);
            Assert.Equal(TinyModel.Context, model.GetProperty("max_model_len").GetInt32());
            Assert.Equal(0, model.GetProperty("permission").GetArrayLength());
            Assert.Contains("full", model.GetProperty("kv_policies").EnumerateArray().Select(policy => policy.GetString()));
            Assert.Equal("none", model.GetProperty("quantization").GetString());
        });
    }

    [Theory]
    [InlineData("/v1/models/org/name", "org/name")]
    [InlineData("/v1/models/org%2Fname", "org/name")]
    [InlineData("/v1/models/org%2fname", "org/name")]
    [InlineData("/models/org%2Fname", "org/name")]
    [InlineData("/v1/models/alias", "alias")]
    [InlineData("/v1/models/alias/", "alias")]
    public async Task A_model_is_found_by_any_name_however_its_slash_is_written(string path, string id)
    {
        using JsonDocument body = JsonDocument.Parse(await _client.GetStringAsync(path));
        Assert.Equal(id, body.RootElement.GetProperty("id").GetString());
    }

    [Theory]
    [InlineData("/v1/models/org")]
    [InlineData("/v1/models/ORG/NAME")]
    [InlineData("/v1/models/..%2F..%2Fetc")]
    public async Task Any_other_name_is_404_and_names_no_other_model(string path)
    {
        HttpResponseMessage answer = await _client.GetAsync(path);
        Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
        string body = await answer.Content.ReadAsStringAsync();
        Assert.Contains("\"code\":\"model_not_found\"", body, StringComparison.Ordinal);
        Assert.Contains("\"param\":\"model\"", body, StringComparison.Ordinal);
        Assert.DoesNotContain("alias", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_long_or_odd_name_is_cut_and_cleaned_in_the_message()
    {
        string body = await (await _client.GetAsync("/v1/models/" + new string('x', 500) + "%0A%07")).Content.ReadAsStringAsync();
        Assert.DoesNotContain(new string('x', 65), body, StringComparison.Ordinal);
        Assert.DoesNotContain("\\n", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_tells_where_the_model_lies() =>
        Assert.DoesNotContain(Path.GetDirectoryName(TinyModel.Folder)!, await _client.GetStringAsync("/v1/models"), StringComparison.Ordinal);
}
