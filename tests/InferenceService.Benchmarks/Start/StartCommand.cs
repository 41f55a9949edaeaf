using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using InferenceService.Benchmarks.Comparison;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Start;

/// <summary><c>start</c>: seconds from the start of a server process to its first token.</summary>
internal static class StartCommand
{
    private const string Project = "src/InferenceService.Server";

    public static Command Create()
    {
        var server = new Option<string?>("--server")
        {
            Description = $"Our server (.dll or executable, a ReadyToRun publish for one). Default: dotnet run --no-build -c Release --project {Project}, from the root of the tree.",
        };
        var model = new Option<string?>("--model") { Description = "Checkpoint folder. Default: the embedded model." };
        var rounds = new Option<int>("--rounds") { Description = "Starts; the median is reported, with the smallest and largest.", DefaultValueFactory = _ => 5 };
        Option<string?> output = ResultFile.OutOption();
        OptionRules.File(server);
        OptionRules.Folder(model);
        OptionRules.AtLeastOne(rounds);
        var command = new Command("start", "Seconds from process start to ready and to the first token over HTTP.") { server, model, rounds, output };
        command.SetAction(async (parsed, cancellation) =>
        {
            string? program = parsed.GetValue(server);
            var ready = new Distribution();
            var first = new Distribution();
            for (int round = 0; round < parsed.GetValue(rounds); round++)
                await MeasureAsync(program, parsed.GetValue(model), ready, first, cancellation);
            var table = new ResultTable("Seconds from process start to", "Median", "Smallest–largest");
            table.Add("ready", $"{ready.Median:F2}", $"{ready.Percentile(0):F2}–{ready.Percentile(100):F2}");
            table.Add("first token", $"{first.Median:F2}", $"{first.Percentile(0):F2}–{first.Percentile(100):F2}");
            ResultFile.Publish($"start of {(program is null ? "dotnet run --no-build" : Path.GetFileName(program))}, {parsed.GetValue(rounds)} starts", table, parsed.GetValue(output));
        });
        return command;
    }

    private static async Task MeasureAsync(string? server, string? model, Distribution ready, Distribution first, CancellationToken cancellation)
    {
        int port = ServerProcess.FreePort();
        string[] arguments = ["--port", port.ToString(CultureInfo.InvariantCulture), "--served-model-name", "start", .. model is null ? (string[])[] : ["--model", model]];
        (string program, string[] all) = server is null ? ("dotnet", ["run", "--no-build", "-c", "Release", "--project", Project, "--", .. arguments])
            : server.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) ? ("dotnet", [server, .. arguments])
            : (server, arguments);
        long began = Stopwatch.GetTimestamp();
        await using ServerProcess process = await ServerProcess.StartAsync(program, all, port, "/ready", cancellation);
        ready.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
        using var http = new HttpClient { BaseAddress = process.Address };
        var client = new CompletionClient(http, "start", tokenIds: 100, apiKey: null);
        double asked = Stopwatch.GetElapsedTime(began).TotalSeconds;
        RequestOutcome outcome = await client.RunAsync(new Arrival(0, PromptTokens: 4, OutputTokens: 2), 0, cancellation);
        if (outcome.Status != 200)
            throw new InvalidOperationException($"The first request ended with {outcome.Status} {outcome.Fault}");
        first.Add(asked + outcome.FirstSeconds);
    }
}
