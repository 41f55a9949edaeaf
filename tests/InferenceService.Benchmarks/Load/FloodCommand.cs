using System.CommandLine;
using System.Diagnostics;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Load;

/// <summary><c>flood</c>: far more streams at once than the queue takes; every one must end as a success or as a proper refusal.</summary>
internal static class FloodCommand
{
    public static Command Create()
    {
        Option<Uri> url = UrlOption.Create();
        var model = new Option<string>("--model") { Description = "Model name.", DefaultValueFactory = _ => "storyteller" };
        var streams = new Option<int>("--streams") { Description = "Concurrent streams.", DefaultValueFactory = _ => 2000 };
        var prompt = new Option<int>("--prompt") { Description = "Prompt tokens.", DefaultValueFactory = _ => 64 };
        var generate = new Option<int>("--generate") { Description = "Generated tokens.", DefaultValueFactory = _ => 32 };
        var processId = new Option<int?>("--pid") { Description = "Server process, to report its peak memory." };
        var output = ResultFile.OutOption();
        var command = new Command("flood", "Floods a server and counts how every request ended; exits 1 when one was lost.")
        {
            url, model, streams, prompt, generate, processId, output,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            int count = parsed.GetValue(streams);
            using var handler = new SocketsHttpHandler { MaxConnectionsPerServer = int.MaxValue };
            using var http = new HttpClient(handler) { BaseAddress = parsed.GetRequiredValue(url), Timeout = Timeout.InfiniteTimeSpan };
            var client = new CompletionClient(http, parsed.GetRequiredValue(model), tokenIds: 1000, apiKey: null);
            Arrival[] flood = Arrival.Uniform(count, parsed.GetValue(prompt), parsed.GetValue(generate), ratePerSecond: null, seed: 1);
            long began = Stopwatch.GetTimestamp();
            RequestOutcome[] outcomes = await LoadLoop.ClosedAsync(client, flood, count, cancellation);
            double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            RequestOutcome after = await client.RunAsync(flood[0], count, cancellation);

            var table = new ResultTable("Outcome", "Count");
            foreach (IGrouping<string, RequestOutcome> group in outcomes.GroupBy(Describe).OrderByDescending(group => group.Count()))
                table.Add(group.Key, $"{group.Count()}");
            table.Add("seconds", $"{seconds:F1}");
            table.Add("a request afterwards", Describe(after));
            if (parsed.GetValue(processId) is { } pid)
                table.Add("server's peak memory", $"{Process.GetProcessById(pid).PeakWorkingSet64 / 1e6:F0} MB");
            ResultFile.Publish($"flood, {count} concurrent streams", table, parsed.GetValue(output));
            return outcomes.All(o => o.Proper) && after.Status == 200 ? 0 : 1;
        });
        return command;
    }

    private static string Describe(RequestOutcome outcome) => outcome.Status switch
    {
        200 => "200, complete stream",
        0 => $"broken: {outcome.Fault}",
        _ => $"{outcome.Status}{(outcome.Proper ? ", error shape" : ", WRONG SHAPE")}{(outcome.RetryAfter ? ", Retry-After" : "")}",
    };
}
