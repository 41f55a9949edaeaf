using System.Net;
using System.Text.Json;
using InferenceService.Server.Tests.Api;

namespace InferenceService.Server.Tests.Processes;

/// <summary>SIGTERM at a process that has much to do.</summary>
public sealed class TerminationTests
{
    private const int Streams = 100, Wholes = 20;

    [Fact]
    public async Task Told_to_end_under_load_a_server_finishes_every_accepted_request()
    {
        await using Instance server = await Instance.StartAsync("1s", [.. LongModel.Flags, "--max-num-seqs", "8", "--shutdown-timeout", "1h", "Streaming:SlowClientTimeout=1h"]);
        using HttpClient client = server.NewClient();
        // Hardly read, it goes on for ever: it keeps the server alive until this test has seen all it wants to see.
        using HttpClient narrow = server.NewNarrowClient();
        using HttpResponseMessage held = await narrow.SendAsync(ApiClient.Request("/v1/completions", $"{{\"prompt\":\"Hold\",\"stream\":true,{LongModel.Endless}}}"), HttpCompletionOption.ResponseHeadersRead);
        Task<string>[] accepted = [.. Enumerable.Range(0, Streams + Wholes).Select(i => AskAsync(client, i, tokens: 60))];
        // Counted in this order, a request that ends meanwhile is counted too seldom, never twice.
        await EventuallyAsync(async () => accepted.Count(task => task.IsCompleted) + await InFlightAsync(client) == Streams + Wholes + 1);

        await server.TerminateAsync();
        await EventuallyAsync(async () => await StatusAsync(client, "/ready") == HttpStatusCode.ServiceUnavailable);
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(client, "/live"));
        await EventuallyAsync(async () => await IsRefusedAsync(client));
        await AssertGoesOnAsync(held);
        string[] answers = await Task.WhenAll(accepted);
        Assert.All(answers[..Streams], AssertCompleteStream);
        Assert.All(answers[Streams..], body => Assert.Equal("length", Choice(body).GetProperty("finish_reason").GetString()));
        held.Dispose();
        Assert.Equal(0, await server.ExitCodeAsync());
    }

    [Fact]
    public async Task What_outlives_the_grace_period_ends_with_a_proper_error_each_and_code_0()
    {
        await using Instance server = await Instance.StartAsync("0", [.. LongModel.Flags, "--max-num-seqs", "8", "--shutdown-timeout", "0"]);
        using HttpClient client = server.NewClient();
        var begun = new TaskCompletionSource();
        Task<string>[] accepted = [.. Enumerable.Range(0, Streams + Wholes).Select(i => AskAsync(client, i, tokens: 150_000, begun))];
        await begun.Task;
        await EventuallyAsync(async () => await InFlightAsync(client) == Streams + Wholes);
        await server.TerminateAsync();
        string[] answers = await Task.WhenAll(accepted);
        Assert.Equal(0, await server.ExitCodeAsync());
        // Those that stream have their error as the last event; those that had heard nothing yet as a status.
        Assert.All(answers, answer =>
        {
            string last = answer.TrimEnd().Split('\n')[^1];
            string json = last.StartsWith("data: ", StringComparison.Ordinal) ? last["data: ".Length..] : last;
            Assert.Equal("shutting_down", JsonDocument.Parse(json).RootElement.GetProperty("error").GetProperty("code").GetString());
            Assert.DoesNotContain("[DONE]", answer, StringComparison.Ordinal);
        });
        Assert.Contains(answers, answer => answer.StartsWith("data: ", StringComparison.Ordinal));
        Assert.Contains(answers, answer => answer.StartsWith('{'));
    }

    // The whole body, as far as it came.
    private static async Task<string> AskAsync(HttpClient client, int number, int tokens, TaskCompletionSource? begun = null)
    {
        bool stream = number < Streams;
        string json = $$"""{"prompt":"Request {{number}}","max_tokens":{{tokens}},"ignore_eos":true,"stream":{{(stream ? "true" : "false")}}}""";
        using HttpResponseMessage response = await client.SendAsync(ApiClient.Request("/v1/completions", json), HttpCompletionOption.ResponseHeadersRead);
        begun?.TrySetResult();
        var text = new StringWriter();
        try
        {
            using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
            while (await reader.ReadLineAsync() is { } line)
                await text.WriteLineAsync(line);
        }
        catch (IOException)
        {
            // A stream that ends with an error is cut behind it.
        }

        return text.ToString();
    }

    /// <summary>Far more comes than sockets and server hold for a client that does not read: thousands of tokens that were generated since.</summary>
    private static async Task AssertGoesOnAsync(HttpResponseMessage stream)
    {
        using var reader = new StreamReader(await stream.Content.ReadAsStreamAsync(), leaveOpen: true);
        for (long bytes = 0; bytes < 2 << 20;)
        {
            string? line = await reader.ReadLineAsync();
            Assert.NotNull(line);
            Assert.DoesNotContain("\"error\"", line, StringComparison.Ordinal);
            bytes += line.Length;
        }
    }

    private static async Task<bool> IsRefusedAsync(HttpClient client)
    {
        using HttpResponseMessage response = await client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"Late","max_tokens":1}"""));
        if (response.StatusCode == HttpStatusCode.OK)
            return false; // the delay is not over
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.Contains("\"code\":\"shutting_down\"", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.InRange(response.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        Assert.True(response.Headers.ConnectionClose);
        return true;
    }

    private static void AssertCompleteStream(string body)
    {
        Assert.EndsWith("data: [DONE]\n\n", body, StringComparison.Ordinal);
        Assert.Equal(1, body.Split("\"finish_reason\":\"length\"").Length - 1);
    }

    private static JsonElement Choice(string body) => JsonDocument.Parse(body).RootElement.GetProperty("choices")[0];

    private static async Task<int> InFlightAsync(HttpClient client) =>
        JsonDocument.Parse(await client.GetStringAsync("/load")).RootElement.GetProperty("server_load").GetInt32();

    private static async Task<HttpStatusCode> StatusAsync(HttpClient client, string path)
    {
        using HttpResponseMessage response = await client.GetAsync(path);
        return response.StatusCode;
    }

    // Asks again and again; each question is an exchange with the server, so nothing spins.
    private static async Task EventuallyAsync(Func<Task<bool>> condition)
    {
        while (!await condition())
        {
        }
    }
}
