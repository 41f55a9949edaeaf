using System.CommandLine;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Reliability;

/// <summary><c>overload</c>: many times what a server of ours can do, for minutes; exits 1 when goodput, memory or a refusal breaks its promise.</summary>
internal static class OverloadCommand
{
    public static Command Create()
    {
        var defaults = new OverloadOptions();
        var rounds = new Option<int>("--rounds") { Description = "Times that saturation and overload are measured in turn.", DefaultValueFactory = _ => defaults.Rounds };
        var saturated = new Option<double>("--saturated") { Description = "Seconds of saturation a round.", DefaultValueFactory = _ => defaults.Saturated };
        var overloaded = new Option<double>("--overloaded") { Description = "Seconds of overload a round.", DefaultValueFactory = _ => defaults.Overloaded };
        var factor = new Option<double>("--factor") { Description = "Offered load as a multiple of what saturation served.", DefaultValueFactory = _ => defaults.Factor };
        var prompt = new Option<int>("--prompt") { Description = "Prompt tokens.", DefaultValueFactory = _ => defaults.PromptTokens };
        var generate = new Option<int>("--generate") { Description = "Generated tokens.", DefaultValueFactory = _ => defaults.OutputTokens };
        var first = new Option<double>("--first-bound") { Description = "An answer is good when its first token comes within so many seconds.", DefaultValueFactory = _ => defaults.FirstBound };
        var seqs = new Option<int>("--max-num-seqs") { Description = "Sequences in the server's batch.", DefaultValueFactory = _ => defaults.MaxSeqs };
        var queue = new Option<int>("--queue") { Description = "Choices that may wait.", DefaultValueFactory = _ => defaults.Queue };
        var threads = new Option<int?>("--threads") { Description = "Threads of its engine." };
        var model = new Option<string>("--model") { Description = "Checkpoint folder, or an embedded model.", DefaultValueFactory = _ => defaults.Model };
        var server = new Option<string?>("--server") { Description = "Server program or library; default: the build of this tree." };
        Option<string?> output = ResultFile.OutOption();
        OptionRules.AtLeastOne(rounds, prompt, generate, seqs, queue);
        OptionRules.Positive(saturated, overloaded, factor, first);
        var command = new Command("overload", "Offers a server many times what it can do, in turn with just enough; goodput, memory and refusals must hold.")
        {
            rounds, saturated, overloaded, factor, prompt, generate, first, seqs, queue, threads, model, server, output,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            OverloadReport report = await new OverloadRun(new OverloadOptions
            {
                Server = parsed.GetValue(server),
                Model = parsed.GetRequiredValue(model),
                Rounds = parsed.GetValue(rounds),
                Saturated = parsed.GetValue(saturated),
                Overloaded = parsed.GetValue(overloaded),
                Factor = parsed.GetValue(factor),
                PromptTokens = parsed.GetValue(prompt),
                OutputTokens = parsed.GetValue(generate),
                FirstBound = parsed.GetValue(first),
                MaxSeqs = parsed.GetValue(seqs),
                Queue = parsed.GetValue(queue),
                Threads = parsed.GetValue(threads),
            }).RunAsync(cancellation);
            ResultFile.Publish($"overload, {parsed.GetValue(factor)} times the load", report.ToTable(), parsed.GetValue(output));
            return report.Faults.Count == 0 ? 0 : 1;
        });
        return command;
    }
}
