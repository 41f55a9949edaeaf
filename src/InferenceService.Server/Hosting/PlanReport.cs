using System.Globalization;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Devices;

namespace InferenceService.Server.Hosting;

/// <summary>Says in a few lines what will be served and where the memory goes.</summary>
internal static class PlanReport
{
    /// <summary>Prints one model's plan.</summary>
    public static void Print(StartupConsole console, ModelPlan plan, ServerConfiguration configuration, ModelDevice device)
    {
        ModelConfig config = plan.Checkpoint.Config;
        MemoryPlan memory = plan.Memory;
        console.Fact("model", string.Join(", ", plan.Names));
        string heads = $"{config.Heads} heads, {config.KvHeads} KV heads";
        console.Fact("architecture", $"{config.Architecture}, {config.Layers} layers, hidden {config.HiddenSize}, {heads}, vocabulary {config.VocabularySize}");
        console.Fact("weights", Text($"{Parameters(plan)} parameters, {HumanValues.Bytes(memory.WeightBytes)} as {Held(plan)}"));
        foreach ((string name, string text) in KvFacts(plan, configuration))
            console.Fact(name, text);
        console.Fact("workspaces", HumanValues.Bytes(memory.WorkspaceBytes));
        console.Fact("device", device.Description);
        console.Fact("sampling", Defaults(plan.Defaults));
        if (memory.ReducedFrom is { } wanted)
        {
            string reduced = Text($"the context is reduced from {wanted} to {memory.MaxModelLength} tokens to fit the KV pool");
            console.Warning($"{reduced}; raise {memory.MoreFlag} for more.");
        }

        foreach (string warning in plan.Warnings)
            console.Warning(warning);
    }

    /// <summary>Says what rounding the matrices lost, and which stayed as stored; nothing where none was rounded.</summary>
    public static void PrintLoss(StartupConsole console, WeightFacts weights)
    {
        if (weights.Worst is { } worst)
        {
            console.Fact("rounding", Text(
                $"relative error of all matrices {weights.Error.Relative:P2}, of the worst {weights.WorstRelative:P2} ({worst})"));
        }

        if (!weights.Kept.IsEmpty)
        {
            string more = weights.Kept.Length == 1 ? "" : Text($" and {weights.Kept.Length - 1} more");
            console.Warning($"{Word(weights.Format)} cannot hold {weights.Kept[0]}{more}: their rows have the wrong length; they stay as stored, whatever --dtype says.");
        }
    }

    /// <summary>What layers and head will be held in, as far as their rows can be.</summary>
    private static string Held(ModelPlan plan)
    {
        string stored = ModelPlan.Name(plan.StoredType);
        (WeightFormat layers, WeightFormat head) = WeightFacts.Planned(plan.Checkpoint.Config, plan.WeightFormat);
        string Of(WeightFormat format) => format == WeightFormat.Stored ? stored : Word(format);
        return (layers, head) == (WeightFormat.Stored, WeightFormat.Stored) ? stored : Text($"{Of(layers)} (output head {Of(head)}, stored {stored})");
    }

    private static string Word(WeightFormat format) => format switch
    {
        WeightFormat.BF16 => "bfloat16",
        WeightFormat.F16 => "float16",
        _ => format.ToString().ToLowerInvariant(),
    };

    /// <summary>What the cache keeps, how it is grouped, what that takes and how much of it there is.</summary>
    public static IEnumerable<(string Name, string Text)> KvFacts(ModelPlan plan, ServerConfiguration configuration)
    {
        MemoryPlan memory = plan.Memory;
        string settings = plan.Policy.Settings.Length == 0 ? "" : $" ({plan.Policy.Settings.Replace(",", ", ", StringComparison.Ordinal)})";
        yield return ("kv policy", $"{plan.Policy.Name}{settings}; requests may choose {string.Join(", ", plan.Policies.Names)}");
        string groups = Text($"grouped by {PolicyMenu.Word(plan.Layout.Grouping)} ({plan.Layout.Groups} a sequence)");
        string blocks = Text($"{memory.Blocks} blocks of {plan.BlockSize} tokens, {memory.Tokens} tokens of {memory.TokenBytes} bytes");
        string type = ModelPlan.Name(plan.KvType) + (plan.Options.KvCache.PackedBits > 0 ? $", old blocks {plan.Options.KvCache.Dtype}" : "");
        yield return ("kv pool", $"{HumanValues.Bytes(memory.PoolBytes)} as {type}: {blocks}, {groups}");
        // A policy with a mask holds no more than that; any other holds the whole prompt for a moment, and then maybe less.
        string least = memory.IsBounded || plan.Policy.Name == "full" ? "" : "at least ";
        string atOnce = Text($"{least}{memory.Concurrency:0.0} sequences of that length fit at once{Packed(plan)}, up to {configuration.Engine.BatchSequences} run");
        if (memory.SumBytes > 0)
        {
            string observers = string.Join(", ", plan.Policies.Names.Where(name => KvPolicyRegistry.Create(name).Sums != AttentionSums.None));
            yield return ("kv sums", Text($"{HumanValues.Bytes(memory.SumBytes)} at most, for attention observed by {observers}"));
        }

        yield return ("kv swap", memory.SwapBytes == 0 ? "none: preempted sequences are recomputed" : $"{HumanValues.Bytes(memory.SwapBytes)} at most, for preempted sequences");
        yield return ("context", Text($"{memory.MaxModelLength} tokens; {atOnce}"));
    }

    private static string Packed(ModelPlan plan) => plan.Policy.Packing.IsNone
        ? ""
        : Text($", {plan.Memory.Blocks / plan.Memory.Groups / plan.Memory.RestingBlocks:0.0} once their old blocks are {plan.Options.KvCache.Dtype}");

    private static string Defaults(GenerationDefaults defaults)
    {
        var parts = new List<string>();
        Add("do_sample", defaults.DoSample is { } sample ? (sample ? 1f : 0f) : null);
        Add("temperature", defaults.Temperature);
        Add("top_p", defaults.TopP);
        Add("top_k", defaults.TopK);
        Add("min_p", defaults.MinP);
        Add("repetition_penalty", defaults.RepetitionPenalty);
        Add("max_new_tokens", defaults.MaxNewTokens);
        return parts.Count == 0 ? "defaults of the API" : $"{string.Join(", ", parts)} (from the checkpoint; --generation-config none ignores them)";

        void Add(string name, float? value)
        {
            if (value is { } number)
                parts.Add(Text($"{name} {number:0.###}"));
        }
    }

    private static string Parameters(ModelPlan plan)
    {
        double count = plan.Checkpoint.WeightBytes / (double)plan.StoredType.Size();
        return count >= 1e9 ? Text($"{count / 1e9:0.##} billion") : Text($"{count / 1e6:0.##} million");
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
