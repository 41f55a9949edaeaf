using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using InferenceService.Benchmarks.Comparison;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Security;

/// <summary>
/// <c>prefix-timing</c>: can one key tell by time what another has sent? Times prompts that the other key has just sent against prompts that nobody has, in turn,
/// and compares the two samples by ranks; once with prefixes kept apart by key, and once shared, as the control that must differ.
/// </summary>
internal static class PrefixTimingCommand
{
    private const double Doubtful = 0.001;
    private const double Plain = 0.9;
    private const int TokenIds = 1000;

    public static Command Create()
    {
        var server = new Option<string?>("--server") { Description = "Server program or library. Default: the build of this tree." };
        var model = new Option<string?>("--model") { Description = "Checkpoint. Default: the embedded model." };
        var trials = new Option<int>("--trials") { Description = "Pairs of prompts a setting.", DefaultValueFactory = _ => 60 };
        var length = new Option<int>("--prompt") { Description = "Tokens a prompt.", DefaultValueFactory = _ => 512 };
        Option<string?> output = ResultFile.OutOption();
        var command = new Command("prefix-timing", "Whether the time of an answer tells one key what another has sent.") { server, model, trials, length, output };
        command.SetAction(async (parsed, cancellation) =>
        {
            var table = new ResultTable("Prefixes", "Sent by the other key, p50 / p95 / p99", "Sent by nobody", "Separation", "p");
            RankTest apart = default, shared = default;
            foreach (string isolation in (string[])["api-key", "salt"])
            {
                string[] flags =
                [
                    .. parsed.GetValue(model) is { } path ? (string[])["--model", path] : [], "--api-key", "key-a", "--api-key", "key-b", "--admin-port", "none", "--prefix-isolation", isolation,
                ];
                await using ServerProcess process = await OurServer.StartAsync(parsed.GetValue(server), flags, cancellation);
                (List<double> sent, List<double> fresh) = await MeasureAsync(process.Address, parsed.GetValue(trials), parsed.GetValue(length), cancellation);
                var result = RankTest.Of(fresh, sent);
                (apart, shared) = isolation == "salt" ? (apart, result) : (result, shared);
                table.Add(isolation == "salt" ? "shared (control)" : "apart by key", Of(sent), Of(fresh), $"{result.Separation:F3}", result.P < 1e-6 ? "< 0.000001" : $"{result.P:F6}");
            }

            ResultFile.Publish($"prefix-timing, {parsed.GetValue(trials)} pairs of {parsed.GetValue(length)} tokens", table, parsed.GetValue(output));
            if (shared.Separation < Plain)
                throw new InvalidOperationException($"The control does not differ (separation {shared.Separation:F3}, at least {Plain} expected): these times show nothing.");
            if (apart.P < Doubtful)
                throw new InvalidOperationException($"Times tell one key what another has sent: separation {apart.Separation:F3}, p {apart.P:G3}.");
        });
        return command;
    }

    private static string Of(List<double> seconds)
    {
        var distribution = new Distribution();
        seconds.ForEach(distribution.Add);
        return distribution.ToMilliseconds();
    }

    private static async Task<(List<double> Sent, List<double> Fresh)> MeasureAsync(Uri address, int trials, int length, CancellationToken cancellation)
    {
        using HttpClient victim = NewClient(address, "key-a"), attacker = NewClient(address, "key-b");
        var random = new Random(7);
        List<double> sent = [], fresh = [];
        const int unmeasured = 5;
        for (int trial = -unmeasured; trial < trials; trial++)
        {
            int[] known = NewPrompt(random, length), unknown = NewPrompt(random, length);
            await AskAsync(victim, known, cancellation);
            // In either order, so that what drifts takes no side.
            bool knownFirst = random.Next(2) == 0;
            double one = await AskAsync(attacker, knownFirst ? known : unknown, cancellation), two = await AskAsync(attacker, knownFirst ? unknown : known, cancellation);
            if (trial < 0)
                continue;
            sent.Add(knownFirst ? one : two);
            fresh.Add(knownFirst ? two : one);
        }

        return (sent, fresh);
    }

    private static int[] NewPrompt(Random random, int length) => [.. Enumerable.Range(0, length).Select(_ => random.Next(3, TokenIds))];

    private static async Task<double> AskAsync(HttpClient client, int[] prompt, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        using HttpResponseMessage answer = await client.PostAsJsonAsync("/v1/completions", new { prompt, max_tokens = 1, temperature = 0, ignore_eos = true }, cancellation);
        string text = await answer.Content.ReadAsStringAsync(cancellation);
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        return answer.IsSuccessStatusCode ? seconds : throw new InvalidOperationException($"The server answered {(int)answer.StatusCode}: {text}");
    }

    private static HttpClient NewClient(Uri address, string key)
    {
        var client = new HttpClient { BaseAddress = address };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }
}
