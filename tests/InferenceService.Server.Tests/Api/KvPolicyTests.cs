using System.ClientModel;
using System.ClientModel.Primitives;
using System.Globalization;
using System.Net;
using System.Text.Json;
using InferenceService.Server.Tests.Telemetry;
using OpenAI;

namespace InferenceService.Server.Tests.Api;

/// <summary>One process with four models under different policies; starts once for the class.</summary>
public sealed class FourPolicies : IAsyncLifetime
{
    public TestServer Server { get; private set; } = null!;

    public async Task InitializeAsync() => Server = await TestServer.StartAsync(
        "--model", TinyModel.Folder, "--served-model-name", "any", "--kv-cache-memory-bytes", "24M",
        "Models:0:KvCache:AllowedPolicies=full,streaming-llm,sim-layer-kv,fast-gen", "Models:0:KvCache:PolicyBounds:recent_tokens=,1020",
        $"Models:1:Path={TinyModel.Folder}", "Models:1:Names=window", "Models:1:KvCache:Policy=streaming-llm",
        "Models:1:KvCache:PolicyOptions:recent_tokens=28", "Models:1:KvCache:PolicyBounds:recent_tokens=8,64",
        $"Models:2:Path={TinyModel.Folder}", "Models:2:Names=lazy", "Models:2:KvCache:Policy=sim-layer-kv", "Models:2:KvCache:Report=true",
        "Models:2:KvCache:PolicyOptions:mode=share", "Models:2:KvCache:PolicyOptions:recent_tokens=28", "Models:2:KvCache:PolicyOptions:observed_tokens=8",
        "Models:2:KvCache:AllowedPolicies=full", $"Models:3:Path={TinyModel.Folder}", "Models:3:Names=packed", "Models:3:KvCache:Dtype=int4");

    public async Task DisposeAsync() => await Server.DisposeAsync();
}

/// <summary>KV policies as requests choose them and answers report them.</summary>
public sealed class KvPolicyTests(FourPolicies four) : IClassFixture<FourPolicies>
{
    private const int BlockTokens = 16;

    // 2 layers, 2 KV heads of 8, K and V, four bytes.
    private const int TokenBytes = 2 * 2 * 8 * 2 * 4;

    private static readonly string Prompt = string.Concat(Enumerable.Range(0, 200).Select(i => (char)('a' + (i * i % 23))));

    private readonly HttpClient _client = four.Server.Client;

    [Theory]
    [InlineData("any", "7", "kv_policy_not_allowed", "must be a name, or an object")]
    [InlineData("any", "[]", "kv_policy_not_allowed", "got an array of 0")]
    [InlineData("any", "true", "kv_policy_not_allowed", "got true")]
    [InlineData("any", "''", "kv_policy_not_allowed", "there is no policy \"\"")]
    [InlineData("any", "'streaming-lm'", "kv_policy_not_allowed", "did you mean streaming-llm?")]
    [InlineData("any", "'FULL'", "kv_policy_not_allowed", "there is no policy \"FULL\"")]
    [InlineData("any", "{}", "kv_policy_not_allowed", "needs its name as a string")]
    [InlineData("any", "{'name':7}", "kv_policy_not_allowed", "needs its name as a string")]
    [InlineData("any", "{'name':null,'sink_tokens':4}", "kv_policy_not_allowed", "needs its name as a string")]
    [InlineData("any", "{'name':'full','sink_tokens':4}", "kv_policy_not_allowed", "full has no option \"sink_tokens\"")]
    [InlineData("any", "{'name':'streaming-llm','Sink_Tokens':4}", "kv_policy_not_allowed", "streaming-llm has no option \"Sink_Tokens\"")]
    [InlineData("any", "{'name':'streaming-llm','sink_tokens':-1}", "kv_policy_not_allowed", "sink_tokens must be a whole number from 0 to 65536")]
    [InlineData("any", "{'name':'streaming-llm','sink_tokens':4.5}", "kv_policy_not_allowed", "sink_tokens must be a whole number")]
    [InlineData("any", "{'name':'streaming-llm','sink_tokens':'many'}", "kv_policy_not_allowed", "sink_tokens must be")]
    [InlineData("any", "{'name':'streaming-llm','sink_tokens':[4]}", "kv_policy_not_allowed", "got an array of 1")]
    [InlineData("any", "{'name':'streaming-llm','sink_tokens':1e999}", "kv_policy_not_allowed", "sink_tokens must be")]
    [InlineData("any", "{'name':'fast-gen','recovery_target':'NaN'}", "kv_policy_not_allowed", "recovery_target must be")]
    [InlineData("any", "{'name':'sim-layer-kv','mode':'both'}", "kv_policy_not_allowed", "mode must be threshold or share")]
    [InlineData("any", "{'name':'sim-layer-kv','slide':1}", "kv_policy_not_allowed", "slide must be false or true")]
    [InlineData("any", "{'name':'streaming-llm','recent_tokens':2000}", "kv_policy_not_allowed", "recent_tokens must be from 1 to 1020 here, and is 2000.")]
    [InlineData("any", "{'name':'fast-gen','gqa':'min'}", "kv_policy_incompatible", "fast-gen with gqa min observes every query head, and this model was loaded without memory for that")]
    [InlineData("any", "'lckv'", "kv_policy_not_allowed", "this model does not offer lckv")]
    [InlineData("window", "{'name':'streaming-llm','recent_tokens':65}", "kv_policy_not_allowed", "recent_tokens must be from 8 to 64 here, and is 65.")]
    [InlineData("window", "'fast-gen'", "kv_policy_incompatible", "fast-gen needs a cache that is grouped by head, and this model was loaded with one grouped by model.")]
    [InlineData("window", "'sim-layer-kv'", "kv_policy_incompatible", "sim-layer-kv needs a cache that is grouped by layer")]
    [InlineData("window", "'lckv'", "kv_policy_incompatible", "layers share caches")]
    [InlineData("any", "{'name':'full','key_bits':4}", "kv_policy_incompatible", "full with key_bits 4 needs blocks of 4 bits, and this model was loaded with none that are quantised.")]
    [InlineData("packed", "{'name':'full','key_bits':8}", "kv_policy_incompatible", "full with key_bits 8 needs blocks of 8 bits, and this model was loaded with blocks of 4.")]
    [InlineData("packed", "{'name':'full','key_bits':4,'value_bits':16}", "kv_policy_not_allowed", "value_bits must equal key_bits")]
    [InlineData("packed", "{'name':'full','residual_tokens':33}", "kv_policy_not_allowed", "residual_tokens must be a multiple of 32")]
    [InlineData("lazy", "'streaming-llm'", "kv_policy_not_allowed", "this model does not offer streaming-llm")]
    public async Task What_cannot_be_had_is_refused_with_what_can_be(string model, string policy, string code, string message)
    {
        foreach (string body in (string[])["'prompt':'a'", "'messages':[{'role':'user','content':'a'}]"])
        {
            string path = body.StartsWith("'prompt", StringComparison.Ordinal) ? "/v1/completions" : "/v1/chat/completions";
            using HttpResponseMessage answer = await _client.SendAsync(ApiClient.Request(path, $"{{'model':'{model}',{body},'max_tokens':1,'kv_policy':{policy}}}".Replace('\'', '"')));
            JsonElement error = JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement.GetProperty("error");
            Assert.Equal((HttpStatusCode.BadRequest, code, "kv_policy"), (answer.StatusCode, error.GetProperty("code").GetString(), error.GetProperty("param").GetString()));
            string text = error.GetProperty("message").GetString()!;
            Assert.Contains(message, text, StringComparison.Ordinal);
            Assert.EndsWith($"This model can serve: {Served(model)}.", text, StringComparison.Ordinal);
            Assert.False(answer.Headers.Contains("x-inference-kv-policy"));
        }
    }

    [Fact]
    public async Task Each_model_lists_what_it_can_serve_and_what_it_does_unasked()
    {
        using JsonDocument body = JsonDocument.Parse(await _client.GetStringAsync("/v1/models"));
        JsonElement[] models = [.. body.RootElement.GetProperty("data").EnumerateArray()];
        foreach (JsonElement model in models)
            Assert.Equal(Served(model.GetProperty("id").GetString()!), string.Join(", ", model.GetProperty("kv_policies").EnumerateArray().Select(name => name.GetString())));
        Assert.Equal("full", models[0].GetProperty("kv_policy").GetProperty("name").GetString());
        JsonElement window = models[1].GetProperty("kv_policy");
        Assert.Equal(("streaming-llm", 4, 28), (window.GetProperty("name").GetString(), window.GetProperty("sink_tokens").GetInt32(), window.GetProperty("recent_tokens").GetInt32()));
        JsonElement lazy = models[2].GetProperty("kv_policy");
        Assert.Equal(("share", true), (lazy.GetProperty("mode").GetString(), lazy.GetProperty("slide").GetBoolean()));
        // What is listed can be sent back.
        JsonElement answer = await PostAsync("lazy", $"'kv_policy':{lazy.GetRawText()}");
        Assert.Equal("sim-layer-kv", Kv(answer).GetProperty("policy").GetString());
    }

    [Fact]
    public async Task Everything_kept_takes_every_block_and_a_window_takes_its_own()
    {
        double evicted = await EvictedAsync("any", "streaming-llm");
        JsonElement full = Kv(await PostAsync("any", "'kv_policy':'full'"));
        // The last token is never computed.
        long blocks = (200 + 19 + BlockTokens - 1) / BlockTokens;
        Assert.Equal((219, 219), (full.GetProperty("logical_tokens").GetInt32(), full.GetProperty("kept_tokens").GetInt32()));
        Assert.Equal((blocks * BlockTokens * TokenBytes, blocks * BlockTokens * TokenBytes), (full.GetProperty("bytes").GetInt64(), full.GetProperty("bytes_full").GetInt64()));
        Assert.Equal(1, full.GetProperty("compression_ratio").GetDouble());

        JsonElement window = Kv(await PostAsync("any", "'kv_policy':{'name':'streaming-llm','sink_tokens':4.0,'recent_tokens':'28'},'cache_salt':'alone'"));
        long bytes = window.GetProperty("bytes").GetInt64();
        Assert.Equal((219, full.GetProperty("bytes_full").GetInt64()), (window.GetProperty("logical_tokens").GetInt32(), window.GetProperty("bytes_full").GetInt64()));
        // The newest token is there before the oldest goes.
        Assert.InRange(window.GetProperty("kept_tokens").GetInt32(), 32, 33);
        Assert.Equal(0, bytes % (BlockTokens * TokenBytes));
        Assert.InRange(bytes / (BlockTokens * TokenBytes), 3, 4);
        Assert.Equal(Math.Round(window.GetProperty("bytes_full").GetInt64() / (double)bytes, 4), window.GetProperty("compression_ratio").GetDouble());
        Assert.Equal(219 - window.GetProperty("kept_tokens").GetInt32(), await EvictedAsync("any", "streaming-llm") - evicted);
    }

    [Theory]
    [InlineData("any", "'kv_policy':'full'")]
    [InlineData("any", "'kv_policy':{'name':'streaming-llm','recent_tokens':28}")]
    [InlineData("any", "'kv_policy':{'name':'sim-layer-kv','mode':'share','recent_tokens':28,'observed_tokens':8}")]
    [InlineData("any", "'kv_policy':{'name':'fast-gen','recovery_target':0.5}")]
    [InlineData("any", "'kv_policy':'full','stop':['a','e','i','o','t'],'max_tokens':200")]
    [InlineData("window", "'seed':1")]
    [InlineData("lazy", "'seed':1")]
    [InlineData("packed", "'seed':1")]
    [InlineData("packed", "'kv_policy':{'name':'streaming-llm','recent_tokens':60}")]
    public async Task A_stream_reports_in_its_usage_chunk_what_a_whole_answer_reports(string model, string fields)
    {
        JsonElement whole = await PostAsync(model, fields);
        List<string> events = await ApiClient.StreamAsync(_client, "/v1/completions", Body(model, fields + ",'stream':true"));
        Assert.Equal("[DONE]", events[^1]);
        JsonElement last = JsonDocument.Parse(events[^2]).RootElement;
        Assert.Equal(0, last.GetProperty("choices").GetArrayLength());
        Assert.Equal(Kv(whole).GetRawText(), Kv(last).GetRawText());
        Assert.True(Kv(whole).GetProperty("bytes").GetInt64() > 0);
        Assert.Equal(whole.GetProperty("system_fingerprint").GetString(), last.GetProperty("system_fingerprint").GetString());
        Assert.DoesNotContain(events.Take(events.Count - 2), data => data.Contains("kv_cache", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_request_may_ask_for_its_tokens_as_computed_where_old_ones_are_quantised()
    {
        JsonElement packed = await PostAsync("packed", "'seed':1"), exact = await PostAsync("packed", "'kv_policy':{'name':'full','key_bits':16}");
        Assert.Equal(Text(await PostAsync("any", "'seed':1")), Text(exact));
        JsonElement either = await PostAsync("packed", "'kv_policy':{'name':'full','value_bits':16}");
        Assert.Equal(Kv(exact).GetProperty("bytes").GetInt64(), Kv(either).GetProperty("bytes").GetInt64());
        Assert.Equal((219, 219), (Kv(exact).GetProperty("kept_tokens").GetInt32(), Kv(packed).GetProperty("kept_tokens").GetInt32()));
        // Blocks of such a pool have room for whole quantised ones, so a token as computed takes a little more than elsewhere.
        Assert.InRange(Kv(exact).GetProperty("compression_ratio").GetDouble(), 0.8, 1);
        Assert.InRange(Kv(packed).GetProperty("compression_ratio").GetDouble(), 1.5, 6);
        Assert.NotEqual(exact.GetProperty("system_fingerprint").GetString(), packed.GetProperty("system_fingerprint").GetString());
    }

    [Fact]
    public async Task Choices_that_share_a_prompt_count_its_blocks_once()
    {
        JsonElement one = Kv(await PostAsync("any", "'kv_policy':'full','temperature':1,'seed':5"));
        JsonElement three = Kv(await PostAsync("any", "'kv_policy':'full','temperature':1,'seed':5,'n':3"));
        Assert.Equal(3 * 219, three.GetProperty("logical_tokens").GetInt32());
        // 200 tokens are twelve whole blocks, which the choices share, and half of one that each has for itself.
        Assert.Equal(one.GetProperty("bytes").GetInt64() + (2 * 2 * BlockTokens * TokenBytes), three.GetProperty("bytes").GetInt64());
        Assert.Equal(1, three.GetProperty("compression_ratio").GetDouble());
    }

    [Fact]
    public async Task Requests_of_different_policies_in_one_batch_say_what_they_say_alone()
    {
        string[] policies =
        [
            "'full'", "{'name':'streaming-llm','recent_tokens':28}", "{'name':'streaming-llm','sink_tokens':0,'recent_tokens':40}",
            "{'name':'sim-layer-kv','mode':'share','recent_tokens':28,'observed_tokens':8}", "{'name':'fast-gen','recovery_target':0.5}", "'full'",
        ];
        string Fields(int i) => $"'kv_policy':{policies[i]},'max_tokens':60";
        var alone = new List<string>();
        for (int i = 0; i < policies.Length; i++)
            alone.Add(Text(await PostAsync("any", Fields(i))));
        Assert.Equal(alone[0], alone[^1]);
        Assert.NotEqual(alone[0], alone[1]);
        for (int round = 0; round < 2; round++)
        {
            JsonElement[] together = await Task.WhenAll(Enumerable.Range(0, policies.Length).Select(i => PostAsync("any", Fields(i))));
            Assert.Equal(alone, together.Select(Text));
            Assert.Equal(policies.Length - 2, together.Select(answer => answer.GetProperty("system_fingerprint").GetString()).Distinct().Count() - 1);
        }
    }

    [Fact]
    public async Task The_header_chooses_too_and_every_answer_says_what_was_in_force()
    {
        await SayAsync("any", null, "", "full");
        await SayAsync("any", "streaming-llm", "", "streaming-llm");
        await SayAsync("any", "fast-gen", ",'kv_policy':'full'", "full");
        await SayAsync("window", null, "", "streaming-llm");
        await SayAsync("window", "full", "", "full");

        async Task SayAsync(string model, string? header, string body, string expected)
        {
            using HttpRequestMessage request = ApiClient.Request("/v1/completions", $"{{'model':'{model}','prompt':'a','max_tokens':1,'kv_report':true{body}}}".Replace('\'', '"'));
            if (header is not null)
                request.Headers.Add("x-inference-kv-policy", header);
            using HttpResponseMessage answer = await _client.SendAsync(request);
            Assert.Equal([expected], answer.Headers.GetValues("x-inference-kv-policy"));
            Assert.Equal(expected, Kv(JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement).GetProperty("policy").GetString());
        }
    }

    [Fact]
    public async Task The_report_comes_on_request_or_where_the_model_always_makes_it()
    {
        JsonElement silent = await ApiClient.PostAsync(_client, "/v1/completions", """{"model":"any","prompt":"a","max_tokens":1}""");
        Assert.False(silent.GetProperty("usage").TryGetProperty("kv_cache", out _));
        JsonElement always = await ApiClient.PostAsync(_client, "/v1/completions", """{"model":"lazy","prompt":"a","max_tokens":1}""");
        Assert.Equal("sim-layer-kv", Kv(always).GetProperty("policy").GetString());
    }

    [Fact]
    public async Task Metrics_tell_policies_apart()
    {
        PrometheusPage before = await PageAsync();
        await PostAsync("any", "'kv_policy':{'name':'streaming-llm','recent_tokens':28}");
        await PostAsync("any", "'kv_policy':'full'");
        PrometheusPage after = await PageAsync();
        const string Any = "{model_name=\"any\",engine=\"0\",policy=\"";
        Assert.Equal(1, after.Samples[$"inference_kv_policy_requests_total{Any}streaming-llm\"}}"] - before.Samples[$"inference_kv_policy_requests_total{Any}streaming-llm\"}}"]);
        Assert.Equal(1, after.Samples[$"inference_kv_policy_requests_total{Any}full\"}}"] - before.Samples[$"inference_kv_policy_requests_total{Any}full\"}}"]);
        Assert.True(after.Samples[$"inference_kv_compression_ratio{Any}streaming-llm\"}}"] > 2);
        Assert.Equal(1, after.Samples[$"inference_kv_compression_ratio{Any}full\"}}"]);
        Assert.Equal(0, after.Samples[$"inference_kv_bytes{Any}full\",tier=\"host\"}}"]);
        Assert.True(after.Samples.ContainsKey($"inference_kv_bytes{Any}full\",tier=\"device\"}}"));
        Assert.DoesNotContain(after.Samples.Keys, key => key.Contains("lckv", StringComparison.Ordinal));
        Assert.Equal(("gauge", "gauge"), (after.Types["inference_kv_compression_ratio"], after.Types["inference_kv_bytes"]));
        Assert.Equal(("counter", "counter"), (after.Types["inference_kv_evicted_tokens_total"], after.Types["inference_kv_policy_requests_total"]));
    }

    [Fact]
    public async Task OpenAIs_client_can_send_it_as_json_of_its_own()
    {
        var client = new OpenAIClient(
            new ApiKeyCredential("any"), new OpenAIClientOptions { Endpoint = new Uri(four.Server.Address, "v1"), RetryPolicy = new ClientRetryPolicy(maxRetries: 0) });
        using BinaryContent body = BinaryContent.Create(BinaryData.FromString(
            """{"model":"any","messages":[{"role":"user","content":"Hi"}],"max_tokens":8,"kv_policy":{"name":"streaming-llm","sink_tokens":2,"recent_tokens":6},"kv_report":true}"""));
        ClientResult result = await client.GetChatClient("any").CompleteChatAsync(body, null);
        using JsonDocument answer = JsonDocument.Parse(result.GetRawResponse().Content);
        JsonElement kv = Kv(answer.RootElement);
        Assert.Equal("streaming-llm", kv.GetProperty("policy").GetString());
        Assert.InRange(kv.GetProperty("kept_tokens").GetInt32(), 8, 9);
    }

    private static string Served(string model) => model switch
    {
        "any" => "fast-gen, full, sim-layer-kv, streaming-llm",
        "window" or "packed" => "full, streaming-llm",
        _ => "full, sim-layer-kv",
    };

    private static JsonElement Kv(JsonElement answer) => answer.GetProperty("usage").GetProperty("kv_cache");

    private static string Text(JsonElement answer) => answer.GetProperty("choices")[0].GetProperty("text").GetString()!;

    private static string Body(string model, string fields) =>
        $"{{'model':'{model}','prompt':'{Prompt}','max_tokens':20,'temperature':0,'kv_report':true,{fields}}}".Replace('\'', '"');

    private Task<JsonElement> PostAsync(string model, string fields) => ApiClient.PostAsync(_client, "/v1/completions", Body(model, fields));

    private async Task<PrometheusPage> PageAsync() => PrometheusPage.Parse(await _client.GetStringAsync("/metrics"));

    private async Task<double> EvictedAsync(string model, string policy) =>
        (await PageAsync()).Samples[string.Create(CultureInfo.InvariantCulture, $"inference_kv_evicted_tokens_total{{model_name=\"{model}\",engine=\"0\",policy=\"{policy}\"}}")];
}
