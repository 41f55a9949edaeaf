using System.CommandLine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models.Checkpoints;
using InferenceService.Text.Tokenization;

namespace InferenceService.Benchmarks.Policies;

/// <summary>What the three policy commands have in common on their command line.</summary>
internal sealed class PolicyOptions
{
    public Option<string> Model { get; } = new("--model") { Description = "Checkpoint folder.", Required = true };

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
        var command = new Command(name, description) { Model, Policies, Context, KvType, Out, Plot };
        foreach (Option option in more)
            command.Options.Add(option);
        return command;
    }

    /// <summary>The settings that the command line asks for, the baseline first.</summary>
    public IReadOnlyList<PolicySetting> Settings(ParseResult parsed)
    {
        using Checkpoint checkpoint = Checkpoint.Open(parsed.GetRequiredValue(Model));
        bool crossLayer = checkpoint.Config.Architecture.StartsWith("LCKV", StringComparison.Ordinal);
        string[] asked = parsed.GetRequiredValue(Policies);
        IReadOnlyList<PolicySetting> standard = PolicySetting.Standard(parsed.GetValue(Context), crossLayer);
        if (asked is ["all"])
            return standard;
        PolicySetting[] settings = [.. asked.Select(PolicySetting.Parse)];
        return settings.Any(setting => setting.IsBaseline) ? settings : [standard[0], .. settings];
    }

    /// <summary>Ids of special and of punctuation tokens, as the server derives them.</summary>
    public static TokenClasses Classes(Tokenizer tokenizer) => new(TokenKinds.Special(tokenizer), TokenKinds.Punctuation(tokenizer));
}
