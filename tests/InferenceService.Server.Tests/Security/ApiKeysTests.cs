using System.Security.Cryptography;
using System.Text;
using InferenceService.Server.Configuration;
using InferenceService.Server.Security;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Security;

public sealed class ApiKeysTests
{
    private readonly string _file = Path.Combine(TinyModel.NewFolder(), "keys");

    [Fact]
    public void Without_keys_none_is_required()
    {
        var keys = ApiKeys.From(new AuthOptions());
        Assert.False(keys.Required);
        Assert.Null(keys.Find("anything"));
    }

    [Fact]
    public void A_key_is_known_by_text_or_by_digest()
    {
        string digest = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes("by-digest")));
        var keys = ApiKeys.From(new AuthOptions { Keys = [new KeyOptions { Value = "by-text" }, new KeyOptions { Sha256 = digest, Scopes = ["admin", "Metrics"] }] });
        Assert.Equal(ApiScope.Inference | ApiScope.Metrics, keys.Find("by-text")?.Scopes);
        Assert.Equal(ApiScope.Admin | ApiScope.Metrics, keys.Find("by-digest")?.Scopes);
        Assert.Null(keys.Find("by-tex"));
        Assert.Null(keys.Find(""));
        Assert.Null(keys.Find(null));
    }

    [Fact]
    public void Keys_are_named_by_their_place_and_never_print_themselves()
    {
        var keys = ApiKeys.From(new AuthOptions { Keys = [new KeyOptions { Value = "one" }, new KeyOptions { Value = "two" }, new KeyOptions { Value = "one", Scopes = ["admin"] }] });
        Assert.Equal(2, keys.Count);
        Assert.Equal("key-1", keys.Find("one")?.ToString());
        Assert.Equal("key-2", keys.Find("two")?.ToString());
        Assert.Equal(ApiScope.Inference | ApiScope.Metrics | ApiScope.Admin, keys.Find("one")?.Scopes);
        Assert.NotEqual(keys.Find("one")?.Id, keys.Find("two")?.Id);
    }

    [Fact]
    public void A_file_adds_one_key_a_line()
    {
        string digest = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes("third")));
        File.WriteAllText(_file, $"# team a\nfirst\n\nsecond metrics   # scraper\r\nsha256:{digest} inference,admin\n");
        var keys = ApiKeys.From(new AuthOptions { KeyFile = _file });
        Assert.Equal(3, keys.Count);
        Assert.Equal(ApiScopes.Default, keys.Find("first")?.Scopes);
        Assert.Equal(ApiScope.Metrics, keys.Find("second")?.Scopes);
        Assert.Equal(ApiScope.Inference | ApiScope.Admin, keys.Find("third")?.Scopes);
    }

    [Fact]
    public void A_hash_inside_a_key_is_part_of_it_and_begins_a_comment_only_at_the_start_of_a_line_or_after_a_space()
    {
        File.WriteAllText(_file, "#all of them\n  # and so on\nsk-ab#long\nsk-c#d metrics\t#scraper name=x\nsk-e #f\n");
        var keys = ApiKeys.From(new AuthOptions { KeyFile = _file });
        Assert.Equal(3, keys.Count);
        Assert.All((string[])["sk-ab", "sk-c", "#all", "#f"], part => Assert.Null(keys.Find(part)));
        Assert.Equal(ApiScopes.Default, keys.Find("sk-ab#long")?.Scopes);
        Assert.Equal((ApiScope.Metrics, false), (keys.Find("sk-c#d")!.Scopes, keys.Find("sk-c#d")!.IsNamed));
        Assert.Equal(ApiScopes.Default, keys.Find("sk-e")?.Scopes);
    }

    [Fact]
    public void A_key_may_bring_settings_in_configuration_and_in_a_file()
    {
        File.WriteAllText(_file, "a inference, metrics name=team-a models=m/1,m2 kv-policies=full requests-per-minute=60 tokens-per-minute=100k concurrent-requests=4 max-priority=-2 weight=2.5\nb\n");
        var keys = ApiKeys.From(new AuthOptions { KeyFile = _file, Keys = [new KeyOptions { Value = "c", Name = "boss", Scopes = ["admin"] }] });
        ApiKey key = keys.Find("a")!;
        Assert.Equal(("team-a", true, ApiScopes.Default, 2.5), (key.Name, key.IsNamed, key.Scopes, key.Weight));
        Assert.Equal(["m/1", "m2"], key.Rights.Models);
        Assert.Equal(["full"], key.Rights.KvPolicies);
        Assert.Equal(-2, key.Rights.MaxPriority);
        var headers = new HeaderDictionary();
        key.Account.Describe(headers);
        Assert.Equal(("60", "100000"), (headers["x-ratelimit-limit-requests"].ToString(), headers["x-ratelimit-limit-tokens"].ToString()));
        // Two of them may generate, so the engine has to tell them apart.
        Assert.Equal(["boss 1", "team-a 2", "key-3 3"], keys.All.Select(known => $"{known.Name} {known.Client}"));
        Assert.Equal(0, ApiKeys.From(new AuthOptions { Keys = [new KeyOptions { Value = "x" }, new KeyOptions { Value = "y", Scopes = ["admin"] }] }).Find("x")?.Client);
    }

    [Fact]
    public void Keys_that_contradict_each_other_are_refused()
    {
        KeyOptions a = new() { Value = "secret-key", Name = "one" }, b = new() { Value = "other", Name = "one" }, c = new() { Value = "secret-key", Weight = 2 };
        Assert.Equal("API keys 1 and 2 have the same name", Assert.Throws<InvalidDataException>(() => ApiKeys.From(new AuthOptions { Keys = [a, b] })).Message);
        Assert.Equal("API key 1 is given twice; only the first may say more than scopes", Assert.Throws<InvalidDataException>(() => ApiKeys.From(new AuthOptions { Keys = [a, c] })).Message);
    }

    [Theory]
    [InlineData("secret-key weight=0", "line 1 of", "weight: its value is out of range (0.01 to 1000)")]
    [InlineData("ok secret-key=", "line 1 of", "a setting is not one of name, models, kv-policies, max-priority, requests-per-minute, tokens-per-minute, concurrent-requests, weight")]
    [InlineData("ok kv-policies=ful", "line 1 of", "did you mean full?")]
    [InlineData("ok name=a/b", "line 1 of", "a name has 1 to 64 letters")]
    [InlineData("secret-key name=x\nsecret-key weight=2", "line 2 of", "API key 1 is given twice")]
    [InlineData("secret-key admni", "line 1 of", "a scope is not one of inference, metrics, admin")]
    [InlineData("ok\nsha256:secret-key", "line 2 of", "sha256: is followed by 64 hexadecimal digits")]
    [InlineData("# nothing\n", "", "holds no key")]
    [InlineData("clé-secret-key", "line 1 of", "printable ASCII")]
    public void A_file_that_cannot_be_used_is_refused_without_showing_a_key(string text, string where, string why)
    {
        File.WriteAllText(_file, text);
        var error = Assert.Throws<InvalidDataException>(() => ApiKeys.From(new AuthOptions { KeyFile = _file }));
        Assert.Contains(where, error.Message, StringComparison.Ordinal);
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret-key", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_not_there_is_one_line()
    {
        var error = Assert.Throws<InvalidDataException>(() => ApiKeys.From(new AuthOptions { KeyFile = "/no/such/keys" }));
        Assert.Equal("--api-key-file: /no/such/keys cannot be read (no such file)", error.Message);
    }
}
