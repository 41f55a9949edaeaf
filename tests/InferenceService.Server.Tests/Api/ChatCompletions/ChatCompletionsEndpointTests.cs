using System.Net;
using System.Text;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api.ChatCompletions;

[Collection(ServerCollection.Name)]
public sealed class ChatCompletionsEndpointTests(ServerFixture fixture)
{
    private const string Hi = "'messages':[{'role':'user','content':'Hi'}]";

    [Fact]
    public async Task An_answer_has_this_shape()
    {
        JsonElement answer = await PostAsync($"{Hi},'max_tokens':5,'temperature':0");
        Assert.StartsWith("chatcmpl-", answer.GetProperty("id").GetString(), StringComparison.Ordinal);
        Assert.Equal(("chat.completion", TinyModel.Name), (answer.GetProperty("object").GetString(), answer.GetProperty("model").GetString()));
        Assert.Equal(JsonValueKind.Null, answer.GetProperty("service_tier").ValueKind);
        JsonElement choice = answer.GetProperty("choices")[0];
        JsonElement message = choice.GetProperty("message");
        Assert.Equal(("assistant", 5, JsonValueKind.Null), (message.GetProperty("role").GetString(), message.GetProperty("content").GetString()!.Length, message.GetProperty("refusal").ValueKind));
        Assert.Equal(("length", JsonValueKind.Null, JsonValueKind.Null), (choice.GetProperty("finish_reason").GetString(), choice.GetProperty("stop_reason").ValueKind, choice.GetProperty("logprobs").ValueKind));
        // <|begin|><|user|>Hi<|end|><|assistant|>
        Assert.Equal(6, answer.GetProperty("usage").GetProperty("prompt_tokens").GetInt32());
    }

    [Fact]
    public async Task The_rest_of_the_context_is_the_default()
    {
        string text = new('a', TinyModel.Context - 4 - 7);
        JsonElement answer = await PostAsync($"'messages':[{{'role':'user','content':'{text}'}}],'ignore_eos':true");
        Assert.Equal((7, TinyModel.Context), (answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32(), answer.GetProperty("usage").GetProperty("total_tokens").GetInt32()));
    }

    [Fact]
    public async Task The_newer_name_of_the_limit_wins() =>
        Assert.Equal(3, (await PostAsync($"{Hi},'max_tokens':9,'max_completion_tokens':3,'ignore_eos':true")).GetProperty("usage").GetProperty("completion_tokens").GetInt32());

    [Fact]
    public async Task Log_probabilities_come_with_bytes()
    {
        JsonElement answer = await PostAsync($"{Hi},'max_tokens':8,'seed':1,'allowed_token_ids':{ApiClient.ByteIds("é")},'logprobs':true,'top_logprobs':3");
        JsonElement content = answer.GetProperty("choices")[0].GetProperty("logprobs").GetProperty("content");
        Assert.Equal(8, content.GetArrayLength());
        byte[] bytes = [.. content.EnumerateArray().Select(token => token.GetProperty("bytes")[0].GetByte())];
        Assert.Equal(answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), Encoding.UTF8.GetString(bytes));
        Assert.All(content.EnumerateArray(), token => Assert.Equal(3, token.GetProperty("top_logprobs").GetArrayLength()));
    }

    [Fact]
    public async Task A_last_message_can_be_continued_and_echoed()
    {
        const string Begun = "'messages':[{'role':'user','content':'Hi'},{'role':'assistant','content':'Hello '}],'continue_final_message':true,'max_tokens':4,'temperature':0";
        JsonElement plain = await PostAsync($"{Begun},'return_token_ids':true");
        int[] ids = [.. plain.GetProperty("prompt_token_ids").EnumerateArray().Select(id => id.GetInt32())];
        Assert.Equal("Hello ", string.Concat(ids[^6..].Select(id => (char)(id - TinyModel.FirstByteId))));
        JsonElement echo = await PostAsync($"{Begun},'echo':true");
        Assert.Equal("Hello " + Text(plain), Text(echo));
    }

    [Fact]
    public async Task Developer_speaks_as_system_and_text_parts_are_lines()
    {
        JsonElement rendered = await ApiClient.PostAsync(fixture.Server.Client, "/v1/chat/completions/render", """
            {"messages":[{"role":"developer","content":"S"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}
            """);
        Assert.Equal("<|begin|><|system|>S<|end|><|user|>a\nb<|end|><|assistant|>", rendered.GetProperty("prompt").GetString());
        Assert.Equal(rendered.GetProperty("count").GetInt32(), rendered.GetProperty("prompt_token_ids").GetArrayLength());
        Assert.Equal(0, rendered.GetProperty("prompt_token_ids")[0].GetInt32());
    }

    [Fact]
    public async Task What_the_template_says_is_told()
    {
        using HttpResponseMessage response = await fixture.Server.Client.SendAsync(ApiClient.Request(
            "/v1/chat/completions", """{"messages":[{"role":"tool","content":"x","tool_call_id":"1"}]}"""));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("unknown role tool", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_checkpoint_without_template_says_so()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        await File.WriteAllTextAsync(Path.Combine(folder, "tokenizer_config.json"), """{"bos_token":"<|begin|>","eos_token":"<|end|>"}""");
        await using TestServer server = await TestServer.StartAsync("--model", folder);
        using HttpResponseMessage response = await server.Client.SendAsync(ApiClient.Request("/v1/chat/completions", """{"messages":[{"role":"user","content":"x"}]}"""));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("no chat template", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_trusted_template_sees_every_variable()
    {
        await using TestServer server = await TestServer.StartAsync("--trust-request-chat-template", "--chat-template-kwargs", """{"tone":"calm","depth":1}""");
        JsonElement rendered = await ApiClient.PostAsync(server.Client, "/v1/chat/completions/render", """
            {"messages":[{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]}],
             "chat_template":"{{ messages[0].tool_calls[0].function.arguments.x }} {{ messages[0].reasoning_content }} {{ tone }} {{ depth }} {{ reasoning_effort }} {{ enable_thinking }} {{ add_generation_prompt }} {{ documents[0].title }} {{ eos_token }} {{ messages[0].content is none }}",
             "chat_template_kwargs":{"depth":2},"reasoning_effort":"none","documents":[{"title":"T"}],"add_generation_prompt":false}
            """);
        Assert.Equal("1 r calm 2 none False False T <|end|> True", rendered.GetProperty("prompt").GetString());
    }

    private Task<JsonElement> PostAsync(string fields) => ApiClient.PostAsync(fixture.Server.Client, "/v1/chat/completions", $"{{{fields}}}".Replace('\'', '"'));

    private static string Text(JsonElement answer) => answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
}
