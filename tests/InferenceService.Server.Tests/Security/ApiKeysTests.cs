using System.Security.Cryptography;
using System.Text;
using InferenceService.Server.Configuration;
using InferenceService.Server.Security;

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

    [Theory]
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
