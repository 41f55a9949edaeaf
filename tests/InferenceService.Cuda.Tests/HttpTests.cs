using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using InferenceService.Compute.Tests;
using InferenceService.Server.Tests;
using InferenceService.Server.Tests.Api;

namespace InferenceService.Cuda.Tests;

/// <summary>Whole requests over HTTP with the model on the device: what is said is what the processor says.</summary>
[RequiresCuda]
public sealed class HttpTests
{
    [ContractFact]
    public async Task A_streamed_chat_and_completions_say_what_they_say_on_the_processor()
    {
        string[] expected, actual;
        await using (TestServer cpu = await TestServer.StartAsync(Small))
            expected = await AskAsync(cpu);
        await using (TestServer cuda = await TestServer.StartAsync([.. Small, .. OnDevice]))
            actual = await AskAsync(cuda);
        Assert.All(expected, text => Assert.True(text.Length >= 8, $"\"{text}\" is too short to mean anything."));
        Assert.Equal(expected, actual);
    }

    [ContractFact]
    public async Task The_device_is_named_at_start_in_the_model_list_and_in_the_metrics()
    {
        await using TestServer server = await TestServer.StartAsync([.. Small, .. OnDevice]);
        Assert.Matches($@"device +cuda:0 {Regex.Escape(CudaUnderTest.Name)}, ", server.Output.ToString());
        Assert.Matches("loading +100 % of", server.Output.ToString());
        using JsonDocument models = JsonDocument.Parse(await server.Client.GetStringAsync(new Uri("/v1/models", UriKind.Relative)));
        Assert.Equal("cuda", models.RootElement.GetProperty("data")[0].GetProperty("device").GetString());
        Assert.Contains("device=\"cuda\"", await server.Client.GetStringAsync(new Uri("/metrics", UriKind.Relative)), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await server.Client.GetAsync(new Uri("/ready", UriKind.Relative))).StatusCode);
    }

    internal static string[] Small { get; } = ["--max-num-seqs", "4", "--max-num-batched-tokens", "64", "--max-model-len", "256"];

    private static string[] OnDevice
    {
        get
        {
            _ = CudaUnderTest.Name; // builds the emulation, before the server loads an older one
            return ["--device", "cuda", "Cuda:CubinCache=none", .. CudaUnderTest.Options.LibraryPath.Select((folder, i) => $"Cuda:LibraryPath:{i}={folder}")];
        }
    }

    /// <summary>Three requests at once: one streams, one has a prompt of several chunks, one samples.</summary>
    private static async Task<string[]> AskAsync(TestServer server)
    {
        string[] bodies =
        [
            """{"model":"tiny","temperature":0,"max_tokens":24,"prompt":"Once upon a time there was a rabbit, and it was brave; nobody knew. Then the rain came."}""",
            """{"model":"tiny","temperature":0.9,"seed":7,"max_tokens":16,"prompt":"It rained"}""",
        ];
        Task<string> streamed = StreamAsync(server);
        JsonElement[] whole = await Task.WhenAll(bodies.Select(body => ApiClient.PostAsync(server.Client, "/v1/completions", body)));
        return [await streamed, .. whole.Select(answer => answer.GetProperty("choices")[0].GetProperty("text").GetString()!)];
    }

    private static async Task<string> StreamAsync(TestServer server)
    {
        List<string> events = await ApiClient.StreamAsync(
            server.Client, "/v1/chat/completions",
            """{"model":"tiny","stream":true,"temperature":0,"max_tokens":20,"messages":[{"role":"user","content":"Who is there?"}]}""");
        Assert.Equal("[DONE]", events[^1]);
        var text = new StringBuilder();
        foreach (string one in events[..^1])
        {
            using JsonDocument chunk = JsonDocument.Parse(one);
            if (chunk.RootElement.GetProperty("choices")[0].GetProperty("delta").TryGetProperty("content", out JsonElement content))
                text.Append(content.GetString());
        }

        return text.ToString();
    }
}
