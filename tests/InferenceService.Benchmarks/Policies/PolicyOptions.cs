using System.CommandLine;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;

namespace InferenceService.Benchmarks.Policies;

/// <summary>What the three policy commands have in common on their command line.</summary>
internal sealed class PolicyOptions
{
    public Option<string?> Model { get; } = new("--model") { Description = "Checkpoint folder." };

    public Option<string> Shape { get; } = new("--shape")
    {
        Description = $"Seeded random weights instead: {string.Join(", ", BenchmarkShape.Names)}.",
        DefaultValueFactory = _ => "tiny",
    };

    public Option<string?> Text { get; } = new("--text") { Description = "UTF-8 prose that the model was not trained on; random ids when absent." };

    public Option<string[]> Policies { get; } = new("--policies")
    {
        Description = "'all' (every policy at three settings, and compositions), or settings like streaming-llm:sink_tokens=4,recent_tokens=252 or full+kv4.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => ["all"],
    };

    public Option<int> Context { get; } = new("--context") { Description = "Tokens of a text.", DefaultValueFactory = _ => 1024 };

    public Option<DType> KvType { get; } = new("--kv-type") { Description = "Element type of blocks that are not packed.", DefaultValueFactory = _ => DType.BF16 };

    public Option<string?> Out { get; } = ResultFile.OutOption();

    public Option<string?> Plot { get; } = new("--plot") { Description = "Prefix of SVG files to write." };

    /// <summary>A command with these options and more.</summary>
    public Command Command(string name, string description, params Option[] more)
    {
        var command = new Command(name, description) { Model, Shape, Text, Policies, Context, KvType, Out, Plot };
        foreach (Option option in more)
            command.Options.Add(option);
        return command;
    }

    /// <summary>What to serve.</summary>
    public PolicyModel Open(ParseResult parsed, int positions) => new(parsed.GetValue(Model), parsed.GetRequiredValue(Shape), positions);

    /// <summary>The settings that the command line asks for, the baseline first.</summary>
    public IReadOnlyList<PolicySetting> Settings(ParseResult parsed, PolicyModel model)
    {
        string[] asked = parsed.GetRequiredValue(Policies);
        IReadOnlyList<PolicySetting> standard = PolicySetting.Standard(parsed.GetValue(Context), model.IsCrossLayer);
        if (asked is ["all"])
            return standard;
        PolicySetting[] settings = [.. asked.Select(PolicySetting.Parse)];
        return settings[0].IsBaseline ? settings : [standard[0], .. settings];
    }
}
