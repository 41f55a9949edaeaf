using System.Text.Json;

namespace InferenceService.Server.Tests.Api.Tokenize;

[Collection(ServerCollection.Name)]
public sealed class TokenizeEndpointTests(ServerFixture fixture)
{
    [Theory]
    [InlineData("/tokenize", "prompt")]
    [InlineData("/v1/tokenize", "content")]
    public async Task Text_becomes_ids_and_back(string path, string field)
    {
        JsonElement answer = await ApiClient.PostAsync(fixture.Server.Client, path, $$"""{"model":"tiny","{{field}}":"Hé 😀<|end|>","return_token_strs":true}""");
        int[] ids = [.. answer.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32())];
        Assert.Equal((9, TinyModel.Context), (answer.GetProperty("count").GetInt32(), answer.GetProperty("max_model_len").GetInt32()));
        Assert.Equal(TinyModel.EndId, ids[^1]);
        Assert.Equal(["H", "\uFFFD", "\uFFFD", " ", "\uFFFD", "\uFFFD", "\uFFFD", "\uFFFD", "<|end|>"], answer.GetProperty("token_strs").EnumerateArray().Select(text => text.GetString()));
        JsonElement back = await ApiClient.PostAsync(fixture.Server.Client, path.Replace("tokenize", "detokenize", StringComparison.Ordinal), $"{{\"tokens\":[{string.Join(',', ids)}]}}");
        Assert.Equal("Hé 😀<|end|>", back.GetProperty("prompt").GetString());
    }

    [Fact]
    public async Task Messages_become_the_ids_that_chat_would_use()
    {
        JsonElement answer = await ApiClient.PostAsync(fixture.Server.Client, "/tokenize", """{"messages":[{"role":"user","content":"Hi"}]}""");
        Assert.Equal("[0,3,77,110,1,4]", answer.GetProperty("tokens").GetRawText());
        Assert.Equal(JsonValueKind.Null, answer.GetProperty("token_strs").ValueKind);
        JsonElement closed = await ApiClient.PostAsync(fixture.Server.Client, "/tokenize", """{"messages":[{"role":"user","content":"Hi"}],"add_generation_prompt":false}""");
        Assert.Equal("[0,3,77,110,1]", closed.GetProperty("tokens").GetRawText());
    }

    [Fact]
    public async Task An_empty_text_has_no_tokens() =>
        Assert.Equal(0, (await ApiClient.PostAsync(fixture.Server.Client, "/tokenize", """{"prompt":""}""")).GetProperty("count").GetInt32());
}
