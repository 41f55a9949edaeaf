using System.CommandLine;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>Command line of <c>compare</c>.</summary>
internal sealed class CompareOptions
{
    /// <summary>Options with their rules.</summary>
    public CompareOptions()
    {
        OptionRules.Folder(LlamaCpp);
        OptionRules.Folder(Model);
        OptionRules.File(Gguf);
        OptionRules.File(Server);
        OptionRules.File(Trace);
        OptionRules.AtLeast(2, Generate);
        OptionRules.AtLeastOne(Prompt, Rounds, Streams, Requests, MaxTokens);
        OptionRules.Positive(Speed, Scale, FirstBound, GapBound);
    }

    public EngineOptionSet Engine { get; } = new();

    public Option<string> LlamaCpp { get; } = new("--llama-cpp") { Description = "Folder of your llama.cpp binaries, or its build folder.", Required = true };

    public Option<string> Model { get; } = new("--model") { Description = "Checkpoint folder.", Required = true };

    public Option<string> Gguf { get; } = new("--gguf") { Description = "The same weights as GGUF, in the format to compare with.", Required = true };

    public Option<int> Prompt { get; } = new("--prompt") { Description = "Prompt tokens.", DefaultValueFactory = _ => 512 };

    public Option<int> Generate { get; } = new("--generate") { Description = "Generated tokens, at least 2.", DefaultValueFactory = _ => 128 };

    public Option<int> Rounds { get; } = new("--rounds") { Description = "Rounds, each side once a round; medians are reported.", DefaultValueFactory = _ => 5 };

    public Option<bool> Serve { get; } = new("--serve") { Description = "Compare the servers over HTTP instead of the engines." };

    public Option<int> Streams { get; } = new("--streams") { Description = "Serving: clients at once, and sequences of a batch.", DefaultValueFactory = _ => 16 };

    public Option<int> Requests { get; } = new("--requests") { Description = "Serving: requests a round.", DefaultValueFactory = _ => 32 };

    public Option<string?> Server { get; } = new("--server") { Description = "Serving: our server (.dll or executable). Default: the Release build of this tree." };

    public Option<string[]> More { get; } = new("--llama-server-arguments") { Description = "Serving: further arguments of llama-server, each as --llama-server-arguments=WORD.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [] };

    public Option<string?> Trace { get; } = new("--trace") { Description = "Serving: send requests at the times and lengths of a CSV (arrival, prompt tokens, output tokens; .gz allowed)." };

    public Option<double> Speed { get; } = new("--speed") { Description = "Trace: arrivals come so many times faster.", DefaultValueFactory = _ => 1 };

    public Option<double> Scale { get; } = new("--scale") { Description = "Trace: factor on lengths.", DefaultValueFactory = _ => 1 };

    public Option<int> MaxTokens { get; } = new("--max-tokens") { Description = "Trace: prompt and output together, at most.", DefaultValueFactory = _ => 1024 };

    public Option<double> FirstBound { get; } = new("--first-bound") { Description = "Trace: seconds to the first token within which a request is good.", DefaultValueFactory = _ => 2 };

    public Option<double> GapBound { get; } = new("--gap-bound") { Description = "Trace: seconds a token, mean of a request, within which it is good.", DefaultValueFactory = _ => 0.2 };

    public Option<string?> Out { get; } = ResultFile.OutOption();

    /// <summary>The command with all of these.</summary>
    public Command Command() => new("compare", "Alternates with llama.cpp on the same weights and threads; prints ratios with their spread.")
    {
        LlamaCpp, Model, Gguf, Engine.Weights, Engine.Kernels, Engine.Threads, Prompt, Generate, Rounds, Serve, Streams, Requests, Server, More,
        Trace, Speed, Scale, MaxTokens, FirstBound, GapBound, Out,
    };

    /// <summary>The requests of one round.</summary>
    public Arrival[] Arrivals(ParseResult parsed) => parsed.GetValue(Trace) is { } file
        ? Arrival.FromCsv(file, parsed.GetValue(Requests), parsed.GetValue(Speed), parsed.GetValue(Scale), parsed.GetValue(MaxTokens))
        : Arrival.Uniform(parsed.GetValue(Requests), parsed.GetValue(Prompt), parsed.GetValue(Generate), ratePerSecond: null, seed: 1);

    /// <summary>Most tokens of a sequence.</summary>
    public int Length(ParseResult parsed) => parsed.GetValue(Trace) is null ? parsed.GetValue(Prompt) + parsed.GetValue(Generate) : parsed.GetValue(MaxTokens);
}
