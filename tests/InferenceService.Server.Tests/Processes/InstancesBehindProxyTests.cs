using System.ClientModel;
using System.Text;
using System.Text.Json;
using InferenceService.Server.Tests.Api;
using OpenAI;
using OpenAI.Chat;

namespace InferenceService.Server.Tests.Processes;

/// <summary>Three instances behind a plain proxy, and OpenAI's own client with the retries that it comes with.</summary>
public sealed class InstancesBehindProxyTests
{
    private const int Instances = 3, Clients = 18, Tokens = 800;

    [Fact]
    public async Task Killing_one_of_three_instances_loses_nothing_that_had_not_begun_to_stream()
    {
        await using Fleet fleet = await Fleet.StartAsync();
        Task<Answer>[] asking = await fleet.AskAllAsync(then: fleet.Servers[0].Kill);
        Answer[] answers = await Task.WhenAll(asking);
        Answer[] lost = [.. answers.Where(answer => answer.Failure is not null)];
        Assert.All(lost, answer => Assert.True(answer.HadBegun, $"client {answer.Client} lost what had not begun: {answer.Failure}\n{fleet.Logs}"));
        Assert.InRange(lost.Length, 0, fleet.Proxy.CutWhileAnswering(instance: 0));
        await fleet.AssertRightAsync(answers.Except(lost));
        // And what comes afterwards is served by the others.
        await fleet.AssertRightAsync([await fleet.AskAsync(Clients), await fleet.AskAsync(Clients + 1), await fleet.AskAsync(Clients + 2)]);
    }

    [Fact]
    public async Task Telling_one_of_three_instances_to_end_loses_nothing_at_all()
    {
        await using Fleet fleet = await Fleet.StartAsync();
        Task<Answer>[] asking = await fleet.AskAllAsync(then: static () => { });
        await fleet.Servers[0].TerminateAsync();
        Task<Answer>[] later = [.. Enumerable.Range(Clients, 6).Select(fleet.AskAsync)];
        Answer[] answers = await Task.WhenAll(asking.Concat(later));
        Assert.All(answers, answer => Assert.True(answer.Failure is null, $"client {answer.Client}: {answer.Failure}\n{fleet.Logs}"));
        await fleet.AssertRightAsync(answers);
        Assert.Equal(0, await fleet.Servers[0].ExitCodeAsync());
    }

    /// <summary>The instances, the proxy before them, and their clients.</summary>
    private sealed class Fleet(Instance[] servers) : IAsyncDisposable
    {
        public Instance[] Servers { get; } = servers;

        public RoundRobinProxy Proxy { get; } = new(servers, together: Clients);

        // Two at a time: most requests wait, and are there to be lost.
        public static async Task<Fleet> StartAsync() => new(await Task.WhenAll(Enumerable.Range(0, Instances).Select(_ =>
            Instance.StartAsync("0", "--max-num-seqs", "2", "--shutdown-timeout", "1h", "Streaming:EarlyHeaders=1h"))));

        /// <summary>What the instances have written.</summary>
        public string Logs => string.Join('\n', Servers.Select(server => $"{server.Address}: {server.Log}"));

        // Everybody asks; returns when somebody hears from the first instance and the others there wait.
        public async Task<Task<Answer>[]> AskAllAsync(Action then)
        {
            Task busy = Proxy.BusyAsync(instance: 0, waiting: 3, then);
            Task<Answer>[] asking = [.. Enumerable.Range(0, Clients).Select(AskAsync)];
            await Task.WhenAny(busy, Task.WhenAll(asking));
            Assert.True(busy.IsCompletedSuccessfully, $"All answers were there before anybody had to wait.\n{Logs}");
            return asking;
        }

        public async ValueTask DisposeAsync()
        {
            await Proxy.DisposeAsync();
            foreach (Instance server in Servers)
                await server.DisposeAsync();
        }

        // Every other client streams. Greedy, so that every instance says the same.
        public async Task<Answer> AskAsync(int number)
        {
            var client = new OpenAIClient(new ApiKeyCredential("any"), new OpenAIClientOptions { Endpoint = new Uri(Proxy.Address, "v1"), NetworkTimeout = TimeSpan.FromHours(1) });
            ChatClient chat = client.GetChatClient(TinyModel.Name);
            var options = new ChatCompletionOptions { MaxOutputTokenCount = Tokens, Temperature = 0 };
            var text = new StringBuilder();
            bool begun = false;
            try
            {
                if (number % 2 == 0)
                {
                    ChatCompletion whole = await chat.CompleteChatAsync([new UserChatMessage(Question(number))], options);
                    return new Answer(number, whole.Content[0].Text, false, null);
                }

                ChatFinishReason? finish = null;
                await foreach (StreamingChatCompletionUpdate update in chat.CompleteChatStreamingAsync([new UserChatMessage(Question(number))], options))
                {
                    begun = true;
                    finish = update.FinishReason ?? finish;
                    foreach (ChatMessageContentPart part in update.ContentUpdate)
                        text.Append(part.Text);
                }

                return new Answer(number, text.ToString(), begun, finish is null ? "the stream ended without a reason" : null);
            }
            catch (Exception exception) when (exception is ClientResultException or HttpRequestException or IOException or AggregateException)
            {
                return new Answer(number, text.ToString(), begun, exception.Message);
            }
        }

        public async Task AssertRightAsync(IEnumerable<Answer> answers)
        {
            using HttpClient direct = Servers[^1].NewClient();
            await Task.WhenAll(answers.Select(async answer =>
            {
                using HttpResponseMessage alone = await direct.SendAsync(ApiClient.Request("/v1/chat/completions",
                    $$"""{"messages":[{"role":"user","content":"{{Question(answer.Client)}}"}],"max_tokens":{{Tokens}},"temperature":0}"""));
                string body = await alone.Content.ReadAsStringAsync();
                Assert.True(alone.IsSuccessStatusCode, $"{body}\n{Logs}");
                Assert.Equal(JsonDocument.Parse(body).RootElement.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), answer.Text);
            }));
        }

        private static string Question(int number) => $"Question {number}: what is lost?";
    }

    /// <summary>What a client got.</summary>
    /// <param name="Client">Its number.</param>
    /// <param name="Text">The text.</param>
    /// <param name="HadBegun">It streamed and had received something.</param>
    /// <param name="Failure">Why it did not get all of it.</param>
    private sealed record Answer(int Client, string Text, bool HadBegun, string? Failure);
}
