using System.CommandLine;
using System.Globalization;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Reliability;

/// <summary><c>soak</c>: hours of a real day in minutes, on a server of ours; exits 1 when anything was lost, leaked or wrong.</summary>
internal static class SoakCommand
{
    public static Command Create()
    {
        var defaults = new SoakOptions();
        var minutes = new Option<double?>("--minutes") { Description = "Send requests so long (30 for the record); otherwise --requests." };
        var requests = new Option<int>("--requests") { Description = "Requests in all.", DefaultValueFactory = _ => defaults.Requests };
        var speed = new Option<double>("--speed") { Description = "Arrivals come so many times faster than in the trace.", DefaultValueFactory = _ => defaults.Speed };
        var prompts = new Option<double>("--prompt-scale") { Description = "Factor on the trace's prompts.", DefaultValueFactory = _ => defaults.PromptScale };
        var answers = new Option<double>("--answer-scale") { Description = "Factor on its answers.", DefaultValueFactory = _ => defaults.AnswerScale };
        var inFlight = new Option<int>("--in-flight") { Description = "Requests in flight at most.", DefaultValueFactory = _ => defaults.InFlight };
        var disconnects = new Option<double>("--disconnects") { Description = "Share of requests whose client leaves (1 = the leak check).", DefaultValueFactory = _ => defaults.Disconnects };
        var invalid = new Option<double>("--invalid") { Description = "Share of requests that must be refused.", DefaultValueFactory = _ => defaults.Invalid };
        var sample = new Option<int>("--sample") { Description = "Answers that are asked for again, alone.", DefaultValueFactory = _ => defaults.Sample };
        var seed = new Option<int>("--seed") { Description = "Another seed, another soak.", DefaultValueFactory = _ => defaults.Seed };
        var pool = new Option<string>("--pool") { Description = "KV pool of the server.", DefaultValueFactory = _ => defaults.PoolBytes };
        var threads = new Option<int?>("--threads") { Description = "Threads of its engine." };
        var model = new Option<string>("--model") { Description = "Checkpoint folder, or an embedded model.", DefaultValueFactory = _ => defaults.Model };
        var server = new Option<string?>("--server") { Description = "Server program or library; default: the Release build of this tree." };
        var memory = new Option<string?>("--memory-out") { Description = "CSV file for the server's resident memory, second by second." };
        Option<string?> output = ResultFile.OutOption();
        OptionRules.AtLeastOne(requests, inFlight);
        OptionRules.Positive(speed, prompts, answers);
        var command = new Command("soak", "Replays a trace with clients that leave, mistakes, every KV policy and too small a pool; nothing may be lost, leaked or wrong.")
        {
            minutes, requests, speed, prompts, answers, inFlight, disconnects, invalid, sample, seed, pool, threads, model, server, memory, output,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            var options = new SoakOptions
            {
                Server = parsed.GetValue(server),
                Model = parsed.GetRequiredValue(model),
                Requests = parsed.GetValue(requests),
                Minutes = parsed.GetValue(minutes),
                Speed = parsed.GetValue(speed),
                PromptScale = parsed.GetValue(prompts),
                AnswerScale = parsed.GetValue(answers),
                InFlight = parsed.GetValue(inFlight),
                Disconnects = parsed.GetValue(disconnects),
                Invalid = parsed.GetValue(invalid),
                Sample = parsed.GetValue(sample),
                Seed = parsed.GetValue(seed),
                PoolBytes = parsed.GetRequiredValue(pool),
                Threads = parsed.GetValue(threads),
            };
            SoakReport report = await new SoakRun(options).RunAsync(cancellation);
            ResultFile.Publish($"soak, {report.Tally.Total} requests", report.ToTable(), parsed.GetValue(output));
            if (parsed.GetValue(memory) is { } csv)
                File.WriteAllLines(csv, ["seconds,resident_bytes", .. report.Memory.Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Seconds:F0},{s.Bytes:F0}"))]);
            return report.Faults.Count == 0 ? 0 : 1;
        });
        return command;
    }
}
