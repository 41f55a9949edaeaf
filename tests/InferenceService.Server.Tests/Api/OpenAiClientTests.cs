using System.ClientModel;
using System.ClientModel.Primitives;
using System.Text;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Models;

namespace InferenceService.Server.Tests.Api;

/// <summary>OpenAI's own .NET client against the server on a socket.</summary>
[Collection(ServerCollection.Name)]
public sealed class OpenAiClientTests(ServerFixture fixture)
{
    private static readonly ChatMessage[] Conversation = [new SystemChatMessage("Be brief."), new UserChatMessage("Hi")];

    [Fact]
    public async Task A_chat_completes()
    {
        ClientResult<ChatCompletion> result = await Chat().CompleteChatAsync(
            Conversation, new ChatCompletionOptions { MaxOutputTokenCount = 12, Temperature = 0, EndUserId = "someone", IncludeLogProbabilities = true, TopLogProbabilityCount = 2 });
        ChatCompletion completion = result.Value;
        Assert.Equal(12, completion.Content[0].Text.Length);
        Assert.Equal((ChatFinishReason.Length, ChatMessageRole.Assistant, TinyModel.Name), (completion.FinishReason, completion.Role, completion.Model));
        Assert.Equal((17, 12, 29), (completion.Usage.InputTokenCount, completion.Usage.OutputTokenCount, completion.Usage.TotalTokenCount));
        Assert.Equal(12, completion.ContentTokenLogProbabilities.Count);
        Assert.Equal(completion.Content[0].Text, string.Concat(completion.ContentTokenLogProbabilities.Select(token => Encoding.UTF8.GetString(token.Utf8Bytes!.Value.Span))));
        Assert.All(completion.ContentTokenLogProbabilities, token => Assert.Equal(2, token.TopLogProbabilities.Count));
        Assert.True(result.GetRawResponse().Headers.TryGetValue("x-request-id", out _));
        Assert.NotNull(completion.SystemFingerprint);
    }

    [Fact]
    public async Task A_streamed_chat_is_the_same_text()
    {
#pragma warning disable OPENAI001 // The seed is marked experimental in this client; without it two calls differ.
        var options = new ChatCompletionOptions { MaxOutputTokenCount = 40, Seed = 11, Temperature = 1 };
#pragma warning restore OPENAI001
        ChatCompletion whole = await Chat().CompleteChatAsync(Conversation, options);
        var text = new StringBuilder();
        ChatFinishReason? finish = null;
        ChatTokenUsage? usage = null;
        var roles = new List<ChatMessageRole>();
        await foreach (StreamingChatCompletionUpdate update in Chat().CompleteChatStreamingAsync(Conversation, options))
        {
            foreach (ChatMessageContentPart part in update.ContentUpdate)
                text.Append(part.Text);
            finish = update.FinishReason ?? finish;
            usage = update.Usage ?? usage;
            if (update.Role is { } role)
                roles.Add(role);
        }

        Assert.Equal(whole.Content[0].Text, text.ToString());
        Assert.Equal((ChatFinishReason.Length, 40), (finish!.Value, usage!.OutputTokenCount));
        Assert.Equal([ChatMessageRole.Assistant], roles);
    }

    [Fact]
    public async Task A_stream_can_be_left()
    {
        using var leave = new CancellationTokenSource();
        int updates = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            var options = new ChatCompletionOptions { MaxOutputTokenCount = 2000 };
            await foreach (StreamingChatCompletionUpdate _ in Chat().CompleteChatStreamingAsync(Conversation, options, leave.Token))
            {
                if (++updates == 3)
                    await leave.CancelAsync();
            }
        });
        Assert.InRange(updates, 3, 1000);
    }

    [Theory]
    [InlineData("nobody", 404, "model_not_found")]
    [InlineData(TinyModel.Name, 400, "context_length_exceeded")]
    public async Task Errors_become_exceptions_with_status_and_code(string model, int status, string code)
    {
        ClientResultException error = await Assert.ThrowsAsync<ClientResultException>(() =>
            Chat(model).CompleteChatAsync(Conversation, new ChatCompletionOptions { MaxOutputTokenCount = 5000 }));
        Assert.Equal(status, error.Status);
        Assert.Contains(code, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_key_is_an_exception_and_the_right_one_works()
    {
        await using TestServer server = await TestServer.StartAsync("--api-key", "right");
        ClientResultException error = await Assert.ThrowsAsync<ClientResultException>(() => Client(server, "wrong").GetChatClient(TinyModel.Name).CompleteChatAsync(Conversation));
        Assert.Equal(401, error.Status);
        ChatCompletion completion = await Client(server, "right").GetChatClient(TinyModel.Name).CompleteChatAsync(Conversation, new ChatCompletionOptions { MaxOutputTokenCount = 3 });
        Assert.Equal(3, completion.Usage.OutputTokenCount);
    }

    [Fact]
    public async Task Models_are_listed()
    {
        OpenAIModelClient models = Client(fixture.Server, "any").GetOpenAIModelClient();
        OpenAIModelCollection all = await models.GetModelsAsync();
        Assert.Equal([TinyModel.Name], all.Select(model => model.Id));
        OpenAIModel one = await models.GetModelAsync(TinyModel.Name);
        Assert.Equal(TinyModel.Name, one.Id);
    }

    private ChatClient Chat(string model = TinyModel.Name) => Client(fixture.Server, "any").GetChatClient(model);

    private static OpenAIClient Client(TestServer server, string key) => new(
        new ApiKeyCredential(key),
        new OpenAIClientOptions { Endpoint = new Uri(server.Address, "v1"), RetryPolicy = new ClientRetryPolicy(maxRetries: 0) });
}
