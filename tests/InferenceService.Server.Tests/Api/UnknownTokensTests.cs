using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace InferenceService.Server.Tests.Api;

/// <summary>A tokenizer may have added tokens for which the checkpoint has no weights: texts with them are the client's mistake.</summary>
public sealed class UnknownTokensTests
{
    private static readonly Lazy<string> Folder = new(() =>
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        string path = Path.Combine(folder, "tokenizer.json");
        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(path))!;
        tokenizer["added_tokens"]!.AsArray().Add(new JsonObject
        {
            ["id"] = TinyModel.VocabularySize,
            ["content"] = "<|extra|>",
            ["single_word"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["normalized"] = false,
            ["special"] = true,
        });
        File.WriteAllText(path, tokenizer.ToJsonString());
        return folder;
    });

    [Theory]
    [InlineData("/v1/completions", """{"prompt":"Once <|extra|>"}""", "prompt")]
    [InlineData("/v1/completions", """{"prompt":["Once","Once <|extra|>"]}""", "prompt[1]")]
    [InlineData("/v1/chat/completions", """{"messages":[{"role":"user","content":"Once <|extra|>"}],"stream":true}""", "messages")]
    public async Task A_prompt_with_such_a_token_is_refused(string path, string json, string param)
    {
        await using TestServer server = await TestServer.StartAsync("--model", Folder.Value);
        using HttpResponseMessage answer = await server.Client.SendAsync(ApiClient.Request(path, json));
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        JsonElement error = body.RootElement.GetProperty("error");
        Assert.Equal(("invalid_value", param), (error.GetProperty("code").GetString(), error.GetProperty("param").GetString()));
    }

    [Fact]
    public async Task A_bad_word_with_such_a_token_cannot_come_up_and_is_passed_over()
    {
        await using TestServer server = await TestServer.StartAsync("--model", Folder.Value);
        JsonElement answer = await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"Once","max_tokens":3,"ignore_eos":true,"bad_words":["<|extra|>"]}""");
        Assert.Equal(3, answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
    }
}
