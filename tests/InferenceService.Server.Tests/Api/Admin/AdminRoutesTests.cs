using System.Net;
using System.Text;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Api.Admin;

/// <summary>What an operator can see and do.</summary>
public sealed class AdminRoutesTests
{
    [Fact]
    public async Task Status_tells_what_the_server_and_its_engines_do()
    {
        await using TestServer server = await TestServer.StartAsync("--admin-port", "0");
        using HttpClient admin = server.NewAdminClient();
        JsonElement status = await GetAsync(admin, "/admin/status");
        Assert.Equal("ready", status.GetProperty("state").GetString());
        Assert.Equal("salt", status.GetProperty("prefix_isolation").GetString());
        JsonElement model = Assert.Single(status.GetProperty("models").EnumerateArray());
        Assert.Equal("running", model.GetProperty("engine").GetString());
        Assert.Equal("full", model.GetProperty("kv_policy").GetProperty("name").GetString());
        Assert.True(model.GetProperty("blocks_total").GetInt32() > 0);
    }

    [Fact]
    public async Task Requests_under_way_are_listed_without_text_and_can_be_ended()
    {
        await using TestServer server = await TestServer.StartAsync([.. LongModel.Flags, "--admin-port", "0"]);
        using HttpClient admin = server.NewAdminClient();
        HttpRequestMessage ask = ApiClient.Request("/v1/completions", $"{{\"prompt\":\"secret words\",\"stream\":true,{LongModel.Endless}}}");
        ask.Headers.Add("X-Request-Id", "mine");
        using HttpResponseMessage answer = await server.Client.SendAsync(ask, HttpCompletionOption.ResponseHeadersRead);
        JsonElement request = Assert.Single((await GetAsync(admin, "/admin/requests")).GetProperty("data").EnumerateArray());
        Assert.Equal("mine", request.GetProperty("request_id").GetString());
        Assert.Equal("decode", request.GetProperty("state").GetString());
        Assert.Equal("text_completion", request.GetProperty("operation").GetString());
        Assert.Equal(JsonValueKind.Null, request.GetProperty("key").ValueKind);
        Assert.True(request.GetProperty("generated_tokens").GetInt32() > 0);
        Assert.Equal(150_000, request.GetProperty("max_tokens").GetInt32());
        Assert.DoesNotContain("secret", request.GetRawText(), StringComparison.Ordinal);

        // The client's own id is nobody's handle: two clients may use the same one.
        Assert.Equal(HttpStatusCode.NotFound, (await admin.DeleteAsync(new Uri("/admin/requests/mine", UriKind.Relative))).StatusCode);
        HttpResponseMessage ended = await admin.DeleteAsync(new Uri($"/admin/requests/{request.GetProperty("id").GetString()}", UriKind.Relative));
        Assert.Equal(HttpStatusCode.OK, ended.StatusCode);
        using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync());
        string? line, last = null;
        try
        {
            while ((line = await reader.ReadLineAsync()) is not null)
                last = line.Length > 0 ? line : last;
        }
        catch (Exception cut) when (cut is HttpRequestException or IOException)
        {
            // After an error event the connection is cut, never ended.
        }

        Assert.Contains("\"code\":\"request_cancelled\"", last, StringComparison.Ordinal);
        ServedModel model = server.Service<IModelCatalog>().Models[0];
        await Eventually.TrueAsync(() => !server.Service<ActiveRequests>().All.Any() && model.Engine.Statistics.BlocksUsed == 0);
    }

    [Fact]
    public async Task Draining_refuses_new_work_after_the_delay_and_resuming_takes_it_again()
    {
        var time = new ManualTime();
        await using TestServer server = await TestServer.StartAsync(load: true, time, "--admin-port", "0", "Server:DrainDelay=5");
        using HttpClient admin = server.NewAdminClient();
        Assert.Equal("leaving", (await PostAsync(admin, "/admin/drain")).GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.Client.GetAsync("/ready")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/live")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(server)).StatusCode);
        time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal("drained", (await PostAsync(admin, "/admin/drain")).GetProperty("state").GetString()); // again changes nothing
        HttpResponseMessage refused = await AskAsync(server);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.NotNull(refused.Headers.RetryAfter);
        Assert.Contains("\"code\":\"shutting_down\"", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal("ready", (await PostAsync(admin, "/admin/resume")).GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(server)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync("/ready")).StatusCode);
    }

    [Theory]
    [InlineData("/admin/cache/reset")]
    [InlineData("/reset_prefix_cache")]
    public async Task A_reset_forgets_cached_prefixes(string path)
    {
        await using TestServer server = await TestServer.StartAsync("--admin-port", "0");
        using HttpClient admin = server.NewAdminClient();
        InferenceEngine engine = server.Service<IModelCatalog>().Models[0].Engine;
        Assert.Equal(0, await CachedAsync(server));
        Assert.Equal(96, await CachedAsync(server));
        Assert.True((await PostAsync(admin, path)).GetProperty("blocks_cached_before").GetInt32() > 0);
        await Eventually.TrueAsync(() => engine.Statistics.BlocksCached == 0);
        Assert.Equal(0, await CachedAsync(server));
    }

    [Fact]
    public async Task The_default_policy_can_be_changed_within_what_requests_may_choose()
    {
        await using TestServer server = await TestServer.StartAsync("--admin-port", "0", "--served-model-name", "org/tiny", "Models:0:KvCache:AllowedPolicies=streaming-llm", "Models:0:KvCache:PolicyBounds:recent_tokens=64,");
        using HttpClient admin = server.NewAdminClient();
        JsonElement listed = (await GetAsync(admin, "/admin/kv-policies")).GetProperty("models")[0];
        Assert.Equal(["full", "streaming-llm"], listed.GetProperty("policies").EnumerateArray().Select(policy => policy.GetProperty("name").GetString()!));
        Assert.Equal("full", await PolicyOfARequestAsync(server));

        foreach (string id in (string[])["org/tiny", "org%2Ftiny"])
        {
            JsonElement changed = await PutAsync(admin, $"/admin/models/{id}/kv-policy", """{"name":"streaming-llm","recent_tokens":80}""", HttpStatusCode.OK);
            Assert.Equal(80, changed.GetProperty("kv_policy").GetProperty("recent_tokens").GetInt32());
        }

        Assert.Equal("streaming-llm", await PolicyOfARequestAsync(server));
        JsonElement shown = JsonDocument.Parse(await server.Client.GetStringAsync(new Uri("/v1/models/org/tiny", UriKind.Relative))).RootElement;
        Assert.Equal(80, shown.GetProperty("kv_policy").GetProperty("recent_tokens").GetInt32());
        (string Body, string Code)[] refused =
        [
            ("""{"name":"sim-layer-kv"}""", "kv_policy_not_allowed"), ("""{"name":"streaming-llm","recent_tokens":16}""", "kv_policy_not_allowed"),
            ("""{"name":"streaming-llm","nonsense":1}""", "kv_policy_not_allowed"), ("""{}""", "kv_policy_not_allowed"), ("[", "invalid_json"),
        ];
        foreach ((string body, string code) in refused)
            Assert.Equal(code, (await PutAsync(admin, "/admin/models/org/tiny/kv-policy", body, HttpStatusCode.BadRequest)).GetProperty("error").GetProperty("code").GetString());
        Assert.Equal("streaming-llm", await PolicyOfARequestAsync(server));
        await PutAsync(admin, "/admin/models/other/kv-policy", """{"name":"full"}""", HttpStatusCode.NotFound);
        await PutAsync(admin, "/admin/models/org/tiny", """{"name":"full"}""", HttpStatusCode.NotFound);
        await PutAsync(admin, "/admin/models/org/tiny/kv-policy", """{"name":"full"}""", HttpStatusCode.OK);
        Assert.Equal("full", await PolicyOfARequestAsync(server));
    }

    [Fact]
    public async Task Settings_are_shown_with_their_source_and_without_secrets()
    {
        await using TestServer server = await TestServer.StartAsync("--admin-port", "0", "--api-key", "sk-very-secret", "Auth:Keys:0:Scopes:0=admin", "--max-num-seqs", "4");
        using HttpClient admin = server.NewAdminClient("sk-very-secret");
        // Keys on the command line replace those of the environment as a whole, scopes included.
        Assert.Equal(HttpStatusCode.Forbidden, (await admin.GetAsync(new Uri("/admin/config", UriKind.Relative))).StatusCode);
        await using TestServer second = await TestServer.StartAsync("--admin-port", "0", "Auth:Keys:0:Value=sk-very-secret", "Auth:Keys:0:Scopes:0=admin", "Telemetry:Otlp:Headers=token=very-secret", "--max-num-seqs", "4");
        using HttpClient operating = second.NewAdminClient("sk-very-secret");
        string config = await operating.GetStringAsync(new Uri("/admin/config", UriKind.Relative));
        Assert.DoesNotContain("secret", config, StringComparison.Ordinal);
        JsonElement settings = JsonDocument.Parse(config).RootElement.GetProperty("settings");
        JsonElement sequences = settings.EnumerateArray().Single(setting => setting.GetProperty("key").GetString() == "Engine:MaxNumSeqs");
        Assert.Equal(("4", "--max-num-seqs"), (sequences.GetProperty("value").GetString(), sequences.GetProperty("source").GetString()));
        Assert.Contains(settings.EnumerateArray(), setting => setting.GetProperty("key").GetString() == "Auth:Keys:0:Value" && setting.GetProperty("value").GetString() == "***");
    }

    [Fact]
    public async Task The_log_level_can_be_changed_while_the_server_runs()
    {
        await using TestServer server = await TestServer.StartAsync("--admin-port", "0", "Logging:LogLevel:Default=Error");
        using HttpClient admin = server.NewAdminClient();
        Microsoft.Extensions.Logging.ILogger log = server.Service<Microsoft.Extensions.Logging.ILoggerFactory>().CreateLogger("InferenceService.Server.Something");
        Assert.False(log.IsEnabled(Microsoft.Extensions.Logging.LogLevel.Information));
        await PutAsync(admin, "/admin/log-level", """{"level":"debug","category":"InferenceService"}""", HttpStatusCode.OK);
        Assert.True(log.IsEnabled(Microsoft.Extensions.Logging.LogLevel.Debug));
        JsonElement levels = (await GetAsync(admin, "/admin/log-level")).GetProperty("levels");
        Assert.Equal(("Error", "Debug"), (levels.GetProperty("Default").GetString(), levels.GetProperty("InferenceService").GetString()));
        foreach (string wrong in (string[])["""{"level":"loud"}""", """{"level":"3"}""", """{}""", """{"level":"Debug","category":"a\nb"}""", """{"level":"None","category":"InferenceService.Server.Audit"}""", """{"level":1}"""])
            await PutAsync(admin, "/admin/log-level", wrong, HttpStatusCode.BadRequest);
    }

    private static async Task<JsonElement> GetAsync(HttpClient client, string path) => JsonDocument.Parse(await client.GetStringAsync(new Uri(path, UriKind.Relative))).RootElement;

    private static async Task<JsonElement> PostAsync(HttpClient client, string path)
    {
        HttpResponseMessage answer = await client.PostAsync(new Uri(path, UriKind.Relative), null);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement;
    }

    private static async Task<JsonElement> PutAsync(HttpClient client, string path, string body, HttpStatusCode expected)
    {
        using var content = new StringContent(body, Encoding.UTF8, "application/json");
        HttpResponseMessage answer = await client.PutAsync(new Uri(path, UriKind.Relative), content);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == expected, $"{answer.StatusCode}: {text}");
        return JsonDocument.Parse(text).RootElement;
    }

    private static Task<HttpResponseMessage> AskAsync(TestServer server) => server.Client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"a","max_tokens":1}"""));

    private static async Task<string> PolicyOfARequestAsync(TestServer server) => (await AskAsync(server)).Headers.GetValues("x-inference-kv-policy").Single();

    private static async Task<int> CachedAsync(TestServer server)
    {
        JsonElement answer = await ApiClient.PostAsync(server.Client, "/v1/completions", $"{{\"prompt\":{ApiClient.ByteIds(new string('p', 100))},\"max_tokens\":1}}");
        return answer.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32();
    }
}
