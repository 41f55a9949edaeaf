using System.CommandLine;
using System.Diagnostics;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Load;

/// <summary><c>load</c>: latency and throughput of a running server, in a closed loop, an open loop, or by replaying a trace.</summary>
internal static class LoadCommand
{
    public static Command Create()
    {
        Option<Uri> url = UrlOption.Create();
        var model = new Option<string>("--model") { Description = "Model name.", DefaultValueFactory = _ => "storyteller" };
        var key = new Option<string?>("--api-key") { Description = "Bearer key." };
        var requests = new Option<int>("--requests") { Description = "Requests in all.", DefaultValueFactory = _ => 64 };
        var concurrency = new Option<int>("--concurrency") { Description = "Closed loop: requests in flight.", DefaultValueFactory = _ => 8 };
        var rate = new Option<double?>("--rate") { Description = "Open loop: Poisson arrivals a second." };
        var trace = new Option<string?>("--trace") { Description = "Open loop: CSV of arrival, prompt tokens, output tokens (.gz allowed)." };
        var speed = new Option<double>("--speed") { Description = "Trace: arrivals come so many times faster.", DefaultValueFactory = _ => 1 };
        var scale = new Option<double>("--scale") { Description = "Trace: factor on lengths.", DefaultValueFactory = _ => 1 };
        var prompt = new Option<int>("--prompt") { Description = "Prompt tokens.", DefaultValueFactory = _ => 128 };
        var generate = new Option<int>("--generate") { Description = "Generated tokens.", DefaultValueFactory = _ => 64 };
        var maxTokens = new Option<int>("--max-tokens") { Description = "Prompt and output together, at most (trace lengths are cut).", DefaultValueFactory = _ => 1024 };
        var tokenIds = new Option<int>("--token-ids") { Description = "Prompts are made of ids in [3, N).", DefaultValueFactory = _ => 1000 };
        var output = ResultFile.OutOption();
        var command = new Command("load", "Loads a server over HTTP and reports p50/p95/p99 of first-token, inter-token and total latency.")
        {
            url, model, key, requests, concurrency, rate, trace, speed, scale, prompt, generate, maxTokens, tokenIds, output,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            int count = parsed.GetValue(requests);
            bool open = parsed.GetValue(trace) is not null || parsed.GetValue(rate) is not null;
            Arrival[] arrivals = parsed.GetValue(trace) is { } csv
                ? Arrival.FromCsv(csv, count, parsed.GetValue(speed), parsed.GetValue(scale), parsed.GetValue(maxTokens))
                : Arrival.Uniform(count, parsed.GetValue(prompt), parsed.GetValue(generate), parsed.GetValue(rate), seed: 1);
            using var http = new HttpClient { BaseAddress = parsed.GetRequiredValue(url), Timeout = Timeout.InfiniteTimeSpan };
            var client = new CompletionClient(http, parsed.GetRequiredValue(model), parsed.GetValue(tokenIds), parsed.GetValue(key));
            long began = Stopwatch.GetTimestamp();
            RequestOutcome[] outcomes = open
                ? await LoadLoop.OpenAsync(client, arrivals, cancellation)
                : await LoadLoop.ClosedAsync(client, arrivals, parsed.GetValue(concurrency), cancellation);
            double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            string loop = open ? "open loop" : $"closed loop, {parsed.GetValue(concurrency)} in flight";
            ResultFile.Publish($"load, {loop}, {arrivals.Length} requests", Summarise(outcomes, arrivals, seconds), parsed.GetValue(output));
        });
        return command;
    }

    private static ResultTable Summarise(RequestOutcome[] outcomes, Arrival[] arrivals, double seconds)
    {
        var first = new Distribution();
        var gap = new Distribution();
        var total = new Distribution();
        long generated = 0;
        for (int i = 0; i < outcomes.Length; i++)
        {
            if (outcomes[i].Status != 200)
                continue;
            first.Add(outcomes[i].FirstSeconds);
            total.Add(outcomes[i].TotalSeconds);
            outcomes[i].Gaps.ForEach(gap.Add);
            generated += arrivals[i].OutputTokens;
        }

        var table = new ResultTable("Measure", "Value (p50 / p95 / p99)");
        table.Add("succeeded / refused / broken",
            $"{outcomes.Count(o => o.Status == 200)} / {outcomes.Count(o => o.Status > 200)} / {outcomes.Count(o => o.Status == 0)}");
        table.Add("time to first token", first.ToMilliseconds());
        table.Add("inter-token latency", gap.ToMilliseconds());
        table.Add("total latency", total.ToMilliseconds());
        table.Add("requests/s", $"{outcomes.Count(o => o.Status == 200) / seconds:F2}");
        table.Add("generated tokens/s", $"{generated / seconds:F1}");
        return table;
    }
}
