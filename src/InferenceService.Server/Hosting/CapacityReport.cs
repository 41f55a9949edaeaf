using System.Globalization;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Devices;

namespace InferenceService.Server.Hosting;

/// <summary>Says how many requests fit: the memory plan as a table, then what a request of each length takes under each policy.</summary>
internal static class CapacityReport
{
    private const int Lengths = 5;
    private const int Shortest = 64;

    /// <summary>Prints one model's capacity.</summary>
    /// <param name="mix">Lengths that are asked for; null = the greatest, its half, and so on.</param>
    /// <exception cref="CheckpointException">A length is beyond what one request may have.</exception>
    public static void Print(StartupConsole console, ModelPlan plan, ServerConfiguration configuration, ModelDevice device, CapacityMix? mix)
    {
        MemoryPlan memory = plan.Memory;
        if (mix?.Shares.FirstOrDefault(share => share.Tokens > memory.MaxModelLength) is { Tokens: > 0 } beyond)
            throw new CheckpointException($"--plan-capacity: {beyond.Tokens} tokens are more than the {memory.MaxModelLength} that a request of {plan.Names[0]} may have.");
        console.Line($"{plan.Names[0]} on {device.Description}");
        console.Line("");
        console.Line("| memory | bytes | |");
        console.Line("|---|---|---|");
        Row(console, "weights", HumanValues.Bytes(memory.WeightBytes), "");
        Row(console, "workspaces", HumanValues.Bytes(memory.WorkspaceBytes), Text($"{plan.Limits.MaxRows} tokens a step"));
        Row(console, "kv sums", HumanValues.Bytes(memory.SumBytes), "at most, for policies that observe attention");
        Row(console, "kv pool", HumanValues.Bytes(memory.PoolBytes), Text($"{memory.Blocks} blocks of {HumanValues.Bytes(memory.BlockBytes)}: {memory.Tokens} tokens of {memory.TokenBytes} bytes"));
        Row(console, "kv swap", HumanValues.Bytes(memory.SwapBytes), "at most, for preempted sequences");
        console.Line("");
        string packed = plan.Options.KvCache.PackedBits > 0 ? Text($" fit once old tokens are {plan.Options.KvCache.Dtype} |") : "";
        console.Line($"| policy | tokens of a request | cache at most | fit at once | run at once |{packed}");
        console.Line($"|---|---|---|---|---|{(packed.Length > 0 ? "---|" : "")}");
        foreach (string name in plan.Policies.Names)
        {
            IKvPolicy policy = name == plan.Policy.Name ? plan.Policy : KvPolicyRegistry.Create(name, plan.Options.KvCache.OptionsOf(name));
            foreach (int length in mix is null ? Halves(memory.MaxModelLength) : [.. mix.Shares.Select(share => share.Tokens).Distinct()])
                Row(console, plan, configuration, policy, Text($"{length}"), BlocksOf(plan, policy, length), RestingOf(plan, policy, length));
            if (mix is { Shares.Count: > 1 })
                Row(console, plan, configuration, policy, mix.ToString(), mix.Mean(length => BlocksOf(plan, policy, length)), mix.Mean(length => RestingOf(plan, policy, length)));
        }

        console.Line("");
        console.Line(Text($"\"Fit\" counts each request at its largest; a policy that drops or packs tokens of a computed prompt makes room for more. --max-num-seqs lets {configuration.Engine.BatchSequences} run; the others wait."));
    }

    // Blocks of one group; all groups of a request grow alike.
    private static double BlocksOf(ModelPlan plan, IKvPolicy policy, int length) => policy.Mask.PeakBlocks(length, plan.BlockSize);

    private static double RestingOf(ModelPlan plan, IKvPolicy policy, int length)
    {
        KvCacheOptions cache = plan.Options.KvCache;
        var format = new KvBlockFormat(plan.KvType, plan.BlockSize, plan.Checkpoint.Config.HeadDim, plan.Layout.LanesPerGroup, cache.PackedBits);
        return MemoryPlan.RestingBlocksOf(policy, format, length, policy.Mask.PeakBlocks(length, plan.BlockSize));
    }

    private static void Row(StartupConsole console, ModelPlan plan, ServerConfiguration configuration, IKvPolicy policy, string length, double blocks, double resting)
    {
        int fit = (int)(plan.Memory.GroupBlocks / blocks);
        string bytes = HumanValues.Bytes((long)(blocks * plan.Memory.Groups * plan.Memory.BlockBytes));
        string packed = plan.Options.KvCache.PackedBits > 0 ? Text($" {(int)(plan.Memory.GroupBlocks / resting)} |") : "";
        console.Line(Text($"| {policy.Name} | {length} | {bytes} | {fit} | {Math.Min(fit, configuration.Engine.BatchSequences)} |{packed}"));
    }

    private static IEnumerable<int> Halves(int longest)
    {
        for (int i = 0; i < Lengths && (i == 0 || longest >= Shortest); i++, longest /= 2)
            yield return longest;
    }

    private static void Row(StartupConsole console, string label, string bytes, string text) => console.Line($"| {label} | {bytes} | {text} |");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
