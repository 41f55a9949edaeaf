using System.Text.Json;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using InferenceService.Server.Tests.Api;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Security;

/// <summary>What one key has sent must not show in what another key's request costs. Cost is counted in tokens computed, not timed.</summary>
public sealed class PrefixIsolationTests
{
    private static readonly string[] TwoKeys = ["--api-key", "sk-a", "--api-key", "sk-b"];

    [Fact]
    public async Task A_prefix_cached_by_one_key_saves_another_key_nothing()
    {
        await using TestServer server = await TestServer.StartAsync(TwoKeys);
        using HttpClient a = server.NewClient("sk-a"), b = server.NewClient("sk-b");
        Cost first = await AskAsync(server, a), again = await AskAsync(server, a), stranger = await AskAsync(server, b), strangerAgain = await AskAsync(server, b);
        Assert.Equal(0, first.Cached);
        Assert.Equal(32, again.Cached);
        Assert.Equal(first.Computed - 32, again.Computed);
        Assert.Equal(first, stranger);
        Assert.Equal(again, strangerAgain);
    }

    [Fact]
    public async Task Salts_split_the_prefixes_of_one_key_further()
    {
        await using TestServer server = await TestServer.StartAsync(TwoKeys);
        using HttpClient a = server.NewClient("sk-a"), b = server.NewClient("sk-b");
        Assert.Equal(0, (await AskAsync(server, a, "s")).Cached);
        Assert.Equal(32, (await AskAsync(server, a, "s")).Cached);
        Assert.Equal(0, (await AskAsync(server, a)).Cached);
        Assert.Equal(0, (await AskAsync(server, b, "s")).Cached);
        Assert.Equal(0, (await AskAsync(server, a, "t")).Cached);
    }

    [Fact]
    public async Task Under_salt_keys_share_what_has_the_same_salt()
    {
        await using TestServer server = await TestServer.StartAsync([.. TwoKeys, "--prefix-isolation", "salt"]);
        using HttpClient a = server.NewClient("sk-a"), b = server.NewClient("sk-b");
        await AskAsync(server, a);
        Assert.Equal(32, (await AskAsync(server, b)).Cached);
        Assert.Equal(0, (await AskAsync(server, b, "s")).Cached);
    }

    [Fact]
    public async Task Under_none_everybody_shares_and_a_salt_is_refused()
    {
        await using TestServer server = await TestServer.StartAsync([.. TwoKeys, "--prefix-isolation", "none"]);
        using HttpClient a = server.NewClient("sk-a"), b = server.NewClient("sk-b");
        await AskAsync(server, a);
        Assert.Equal(32, (await AskAsync(server, b)).Cached);
        HttpResponseMessage refused = await b.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"x","cache_salt":"s"}"""));
        Assert.Contains("\"code\":\"unsupported_parameter\"", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("auto", 0, "salt")]
    [InlineData("auto", 1, "salt")]
    [InlineData("auto", 2, "api-key")]
    [InlineData("salt", 2, "salt")]
    [InlineData("none", 2, "none")]
    [InlineData("api-key", 1, "api-key")]
    public void Several_keys_isolate_unless_configuration_says_otherwise(string setting, int keys, string inForce)
    {
        var known = ApiKeys.From(new AuthOptions { Keys = [.. Enumerable.Range(0, keys).Select(i => new KeyOptions { Value = $"k{i}" })] });
        Assert.Equal(inForce, new PrefixIsolation(new EngineSection { PrefixIsolation = setting }, known).Mode);
    }

    [Fact]
    public void No_key_and_salt_make_the_salt_of_another_key()
    {
        var known = ApiKeys.From(new AuthOptions { Keys = [new KeyOptions { Value = "a" }, new KeyOptions { Value = "b" }] });
        var isolation = new PrefixIsolation(new EngineSection(), known);
        string?[] salts = [null, "x", $"{known.Find("a")!.Id}", $"{known.Find("a")!.Id}x"];
        var seen = new HashSet<string?>();
        foreach (ApiKey? key in (ApiKey?[])[null, known.Find("a"), known.Find("b")])
        {
            var http = new DefaultHttpContext();
            http.Features.Set(key);
            foreach (string? salt in salts)
                Assert.True(seen.Add(isolation.Apply(http, FieldsWith(salt), new Problems()).CacheSalt));
        }
    }

    private static GenerationFields FieldsWith(string? salt)
    {
        using JsonDocument empty = JsonDocument.Parse("{}");
        return GenerationFields.Read(new FieldReader(empty.RootElement, "", new Problems()), new LimitOptions(), ["max_tokens"], 1, 300) with { CacheSalt = salt };
    }

    private readonly record struct Cost(int Cached, long Hits, long Computed);

    /// <summary>Asks for one token after a prompt of three blocks and counts what the engine did for it.</summary>
    private static async Task<Cost> AskAsync(TestServer server, HttpClient client, string? salt = null)
    {
        ServedModel model = server.Service<IModelCatalog>().Models[0];
        (long hits, double steps) before = (model.Engine.Statistics.PrefixHitTokens, model.Engine.StepTokens.Sum);
        string extra = salt is null ? "" : $",\"cache_salt\":\"{salt}\"";
        JsonElement body = await ApiClient.PostAsync(client, "/v1/completions",
            $"{{\"prompt\":{ApiClient.ByteIds(new string('p', 40))},\"max_tokens\":1,\"temperature\":0,\"ignore_eos\":true{extra}}}");
        int cached = body.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32();
        return new Cost(cached, model.Engine.Statistics.PrefixHitTokens - before.hits, (long)(model.Engine.StepTokens.Sum - before.steps));
    }
}
