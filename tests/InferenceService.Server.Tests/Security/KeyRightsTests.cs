using System.Net;
using System.Text.Json;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests.Api;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Security;

/// <summary>A server with two models, priorities, and keys that cover some of it; starts once for the class.</summary>
public sealed class SharedServer : IAsyncLifetime
{
    public TestServer Server { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        string file = Path.Combine(TinyModel.NewFolder(), "keys");
        await File.WriteAllTextAsync(file, "all\none models=first\nfull kv-policies=streaming-llm max-priority=0\nlow max-priority=3 weight=0.5\n");
        Server = await TestServer.StartAsync(
            "--model", TinyModel.Folder, "--served-model-name", "first", "--api-key-file", file, "--scheduling-policy", "priority",
            $"Models:1:Path={TinyModel.Folder}", "Models:1:Names:0=second", "--kv-cache-memory-bytes", "4M");
    }

    public async Task DisposeAsync() => await Server.DisposeAsync();
}

public sealed class KeyRightsTests(SharedServer shared) : IClassFixture<SharedServer>
{
    private readonly TestServer _server = shared.Server;

    [Theory]
    [InlineData("all", "first second")]
    [InlineData("one", "first")]
    public async Task The_list_shows_the_models_that_the_key_covers(string key, string models)
    {
        using HttpClient client = _server.NewClient(key);
        using JsonDocument list = JsonDocument.Parse(await client.GetStringAsync("/v1/models"));
        Assert.Equal(models.Split(' '), list.RootElement.GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()));
    }

    [Theory]
    [InlineData("one", "\"model\":\"first\"", null)]
    [InlineData("one", "\"model\":\"second\"", "model")]
    [InlineData("one", "\"model\":\"third\"", "model_not_found")]
    [InlineData("all", "\"model\":\"second\"", null)]
    [InlineData("full", "\"model\":\"first\",\"kv_policy\":\"streaming-llm\"", null)]
    [InlineData("full", "\"model\":\"first\",\"kv_policy\":\"full\"", "kv_policy: the API key does not cover full. It covers: streaming-llm.")]
    [InlineData("full", "\"model\":\"first\"", "kv_policy: the API key does not cover full.")]
    [InlineData("full", "\"model\":\"first\",\"kv_policy\":\"streaming-llm\",\"priority\":-1", "priority: the API key covers 0 and larger (less urgent) numbers, got -1.")]
    [InlineData("full", "\"model\":\"first\",\"kv_policy\":\"streaming-llm\",\"priority\":7", null)]
    [InlineData("low", "\"model\":\"first\",\"priority\":0", "priority: the API key covers 3 and larger")]
    [InlineData("low", "\"model\":\"first\"", null)]
    [InlineData("all", "\"model\":\"first\",\"priority\":-2000000000", null)]
    public async Task What_a_key_does_not_cover_is_refused_and_never_changed(string key, string fields, string? refusal)
    {
        using HttpClient client = _server.NewClient(key);
        HttpResponseMessage answer = await client.SendAsync(ApiClient.Request("/v1/completions", $"{{\"prompt\":\"Once\",\"max_tokens\":1,{fields}}}"));
        string text = await answer.Content.ReadAsStringAsync();
        HttpStatusCode expected = refusal is null ? HttpStatusCode.OK : refusal == "model_not_found" ? HttpStatusCode.NotFound : HttpStatusCode.Forbidden;
        Assert.True(answer.StatusCode == expected, $"{answer.StatusCode}: {text}");
        Assert.True(text.Contains(refusal ?? "text_completion", StringComparison.Ordinal), text);
        if (expected == HttpStatusCode.Forbidden)
            Assert.Contains("\"type\":\"permission_error\",\"param\":null,\"code\":\"insufficient_permissions\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Where_priorities_do_not_count_a_keys_own_stands_in_nobodys_way()
    {
        string file = Path.Combine(TinyModel.NewFolder(), "keys");
        await File.WriteAllTextAsync(file, "low max-priority=3\n");
        await using TestServer server = await TestServer.StartAsync("--model", TinyModel.Folder, "--api-key-file", file, "--kv-cache-memory-bytes", "4M");
        using HttpClient client = server.NewClient("low");
        HttpResponseMessage answer = await client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"Once","max_tokens":1,"priority":0}"""));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
    }

    [Theory]
    [InlineData("/tokenize", "POST")]
    [InlineData("/v1/models/second", "GET")]
    public async Task A_model_that_is_not_covered_is_closed_on_every_route(string path, string method)
    {
        using HttpClient client = _server.NewClient("one");
        var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (method == "POST")
            request.Content = new StringContent("""{"model":"second","prompt":"a"}""", System.Text.Encoding.UTF8, "application/json");
        Assert.Equal(HttpStatusCode.Forbidden, (await client.SendAsync(request)).StatusCode);
    }

    [Fact]
    public void The_engine_is_told_who_asks_and_what_is_due_to_it()
    {
        ServedModel model = _server.Service<IModelCatalog>().Models[0];
        ApiKeys keys = _server.Service<ApiKeys>();
        var http = new DefaultHttpContext();
        Assert.Equal((0, 1, 0), Told(new GenerationFields()));
        http.Features.Set(keys.Find("low"));
        Assert.Equal((4, 0.5, 3), Told(new GenerationFields()));
        http.Features.Set(keys.Find("all"));
        Assert.Equal((1, 1, 0), Told(new GenerationFields()));

        (int, double, int) Told(GenerationFields fields)
        {
            fields = KeyRights.Apply(http, fields, model, new Problems());
            return (fields.Client, fields.Weight, fields.UnstatedPriority);
        }
    }

    [Fact]
    public async Task Refusals_of_keys_are_counted_by_reason_on_inference_routes()
    {
        InferenceMetrics metrics = _server.Service<InferenceMetrics>();
        long unauthorized = metrics.Count(RejectionReason.Unauthorized);
        await _server.Client.SendAsync(ApiClient.Request("/v1/completions", "{}"));
        await _server.Client.GetAsync("/v1/models");
        Assert.Equal(unauthorized + 1, metrics.Count(RejectionReason.Unauthorized));
    }
}
