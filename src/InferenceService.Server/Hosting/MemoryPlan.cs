using System.Globalization;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Server.Hosting;

/// <summary>What the sizes of a plan depend on.</summary>
internal sealed record MemoryDemand
{
    /// <summary>Shape of the model.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>Groups and lanes.</summary>
    public required KvLayout Layout { get; init; }

    /// <summary>The policy of requests that choose none; its mask may bound what a sequence holds.</summary>
    public required IKvPolicy Policy { get; init; }

    /// <summary>Weight bytes once loaded.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Workspace sizes.</summary>
    public required DecoderLimits Limits { get; init; }

    /// <summary>Element type of K and V.</summary>
    public required DType KvType { get; init; }

    /// <summary>Tokens a block.</summary>
    public required int BlockSize { get; init; }

    /// <summary>Bits of quantised blocks; 0 = there are none.</summary>
    public int PackedBits { get; init; }

    /// <summary>Most sequences in a batch.</summary>
    public required int MaxNumSeqs { get; init; }

    /// <summary>Attention sums that an allowed policy may want.</summary>
    public AttentionSums Sums { get; init; }

    /// <summary>Wanted host memory for preempted sequences; null = a share of what is left.</summary>
    public long? SwapBytes { get; init; }

    /// <summary>Wanted context; null = the checkpoint's.</summary>
    public required int? MaxModelLength { get; init; }

    /// <summary>Wanted pool; null = a share of <see cref="AvailableBytes"/>.</summary>
    public required long? KvCacheBytes { get; init; }

    /// <summary>Memory this model may take, weights included.</summary>
    public required long AvailableBytes { get; init; }

    /// <summary>What the pool takes of the memory that weights and workspaces leave, when no size is stated.</summary>
    public double PoolShare { get; init; } = 0.5;

    /// <summary>Host memory that preempted sequences may have a share of, where the model's lies elsewhere; null = what the pool leaves.</summary>
    public long? HostBytes { get; init; }

    /// <summary>The flag that gives the pool more.</summary>
    public string MoreFlag { get; init; } = "--kv-cache-memory-bytes";
}

/// <summary>Where a model's memory goes, fixed before anything is allocated.</summary>
internal sealed record MemoryPlan
{
    private const double SwapShare = 0.5; // of the rest
    private const long MostSwapBytes = 4L << 30; // unless stated

    /// <summary>Weights once loaded: matrices as they are held, the rest as stored.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Activations and logits of one step.</summary>
    public required long WorkspaceBytes { get; init; }

    /// <summary>Attention sums of the running sequences; 0 when no allowed policy observes attention. Filled only as they are used.</summary>
    public required long SumBytes { get; init; }

    /// <summary>Host memory for preempted sequences, at most; 0 = they are recomputed. Taken only while they wait.</summary>
    public required long SwapBytes { get; init; }

    /// <summary>The KV pool: whole blocks.</summary>
    public required long PoolBytes { get; init; }

    /// <summary>One block.</summary>
    public required int BlockBytes { get; init; }

    /// <summary>Blocks of the pool.</summary>
    public required int Blocks { get; init; }

    /// <summary>Tokens the pool holds when nothing is evicted.</summary>
    public required long Tokens { get; init; }

    /// <summary>Blocks that each group has, besides the one that packing needs.</summary>
    public required long GroupBlocks { get; init; }

    /// <summary>Prompt and output together, after any reduction.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>What was asked for, when it had to be reduced.</summary>
    public int? ReducedFrom { get; init; }

    /// <summary>The flag that gives the pool more.</summary>
    public required string MoreFlag { get; init; }

    /// <summary>Bytes that a token takes while all of it is kept: its slots in every group.</summary>
    public required long TokenBytes { get; init; }

    /// <summary>Blocks of one group that a sequence of the greatest length holds at most under the default policy.</summary>
    public required int SequenceBlocks { get; init; }

    /// <summary>What is left of them once old blocks are quantised; children count by their share of a block.</summary>
    public required double RestingBlocks { get; init; }

    /// <summary>Groups of a sequence.</summary>
    public required int Groups { get; init; }

    /// <summary>Sequences of the greatest length that fit at once under the default policy, at their peak.</summary>
    public double Concurrency => IsBounded ? Blocks / Groups / (double)SequenceBlocks : Tokens / (double)MaxModelLength;

    /// <summary>The default policy's mask bounds what a sequence holds, whatever its length.</summary>
    public required bool IsBounded { get; init; }

    /// <summary>Lays out the memory.</summary>
    /// <exception cref="CheckpointException">Not even one sequence of one block fits, or the context exceeds the checkpoint's.</exception>
    public static MemoryPlan For(MemoryDemand demand)
    {
        int wanted = demand.MaxModelLength ?? demand.Config.MaxPositions;
        if (wanted > demand.Config.MaxPositions)
            throw new CheckpointException($"--max-model-len: {wanted} exceeds the checkpoint's own {demand.Config.MaxPositions} positions.");
        var format = new KvBlockFormat(demand.KvType, demand.BlockSize, demand.Config.HeadDim, demand.Layout.LanesPerGroup, demand.PackedBits);
        int blockBytes = checked(format.BlockBytes);
        int spare = demand.PackedBits == 0 ? 0 : 1; // packing takes a block before it gives any back
        int groups = demand.Layout.Groups;
        long workspace = Workspace(demand);
        int most = demand.Policy.Mask.PeakBlocks(wanted, demand.BlockSize);
        long useful = (long)demand.MaxNumSeqs * most * groups + spare;
        long left = Math.Max(0, demand.AvailableBytes - demand.WeightBytes - workspace);
        long bytes = demand.KvCacheBytes ?? PoolShareOf(demand, left, wanted, most, (double)groups * blockBytes / demand.BlockSize);
        long affordable = bytes / blockBytes;
        // An explicit size is taken as given: blocks beyond the running sequences still hold prefixes.
        long blocks = Math.Min(demand.KvCacheBytes is null ? Math.Min(affordable, useful) : affordable, int.MaxValue / demand.BlockSize);
        long perGroup = (blocks - spare) / groups;
        if (perGroup < 1)
        {
            string parts = demand.KvCacheBytes is null ? $" (of {demand.AvailableBytes} bytes weights take {demand.WeightBytes}, workspaces {workspace})" : "";
            throw new CheckpointException(
                $"The KV pool of {bytes} bytes{parts} holds no sequence: one block a group takes {((long)groups + spare) * blockBytes} bytes; "
                + $"raise {(demand.KvCacheBytes is null ? demand.MoreFlag : "--kv-cache-memory-bytes")}.");
        }

        int length = most <= perGroup ? wanted : (int)Math.Min(wanted, perGroup * demand.BlockSize);
        int peak = demand.Policy.Mask.PeakBlocks(length, demand.BlockSize);
        long sums = SumsOf(demand, length);
        if (sums > demand.AvailableBytes)
            throw new CheckpointException(Refusal(demand, length, sums));
        long rest = Math.Max(0, left - sums - blocks * blockBytes);
        return new MemoryPlan
        {
            WeightBytes = demand.WeightBytes,
            WorkspaceBytes = workspace,
            SumBytes = sums,
            SwapBytes = demand.SwapBytes ?? Math.Min(MostSwapBytes, (long)(SwapShare * (demand.HostBytes ?? rest))),
            PoolBytes = blocks * blockBytes,
            BlockBytes = blockBytes,
            Blocks = (int)blocks,
            Tokens = perGroup * demand.BlockSize,
            GroupBlocks = perGroup,
            MaxModelLength = length,
            TokenBytes = (long)groups * blockBytes / demand.BlockSize,
            SequenceBlocks = peak,
            RestingBlocks = RestingBlocksOf(demand.Policy, format, length, peak),
            Groups = groups,
            IsBounded = peak < BlocksFor(length, demand.BlockSize),
            ReducedFrom = length < wanted ? wanted : null,
            MoreFlag = demand.KvCacheBytes is null ? demand.MoreFlag : "--kv-cache-memory-bytes",
        };
    }

    /// <summary>What the pool may take, so that it and the sums of a context which it holds take their share of what is left.</summary>
    private static long PoolShareOf(MemoryDemand demand, long left, int wanted, int mostBlocks, double tokenBytes)
    {
        long whole = (long)(demand.PoolShare * Math.Max(0, left - SumsOf(demand, wanted)));
        if (!demand.Policy.Mask.IsNone || whole / tokenBytes >= (double)mostBlocks * demand.BlockSize)
            return whole;
        // The context is cut to the pool, and the sums with it: t tokens with t · tokenBytes = share · (left − t · sumBytes).
        double sumBytes = SumsOf(demand, wanted) / (double)wanted;
        return (long)(demand.PoolShare * left * tokenBytes / (tokenBytes + demand.PoolShare * sumBytes));
    }

    private static long SumsOf(MemoryDemand demand, int length) => InferenceEngine.SumBytes(
        demand.Layout, demand.MaxNumSeqs, length, demand.Sums, demand.Config.Heads / demand.Config.KvHeads);

    private static string Refusal(MemoryDemand demand, int length, long sums) => string.Create(CultureInfo.InvariantCulture,
        $"The attention sums of {demand.MaxNumSeqs} sequences of {demand.Layout.OwnerLayers * demand.Layout.KvHeads} lanes of {length} tokens take {sums} bytes, and {demand.AvailableBytes} are available; lower --max-num-seqs or --max-model-len, or leave fast-gen out of KvCache:AllowedPolicies.");

    /// <summary>Blocks of one group that are left of a sequence once its old blocks are quantised.</summary>
    public static double RestingBlocksOf(IKvPolicy policy, KvBlockFormat format, int length, int peak)
    {
        if (policy.Packing.IsNone)
            return peak;
        int kept = policy.Mask.IsNone ? length : Math.Min(length, policy.Mask.Sinks + policy.Mask.Window);
        int packed = Math.Max(0, kept - policy.Packing.Residual) / format.BlockSize;
        return BlocksFor(kept, format.BlockSize) - packed + packed / (double)format.ChildrenPerBlock;
    }

    private static long BlocksFor(int tokens, int blockSize) => (tokens + (long)blockSize - 1) / blockSize;

    // Every activation is f32: residual, normed, projected, q/k/v, attention, gate and up, their product; queries once more, should a
    // sequence have sinks; and logits.
    private static long Workspace(MemoryDemand demand)
    {
        ModelConfig config = demand.Config;
        long queries = (long)config.Heads * config.HeadDim, keys = (long)config.KvHeads * config.HeadDim;
        long perRow = 3L * config.HiddenSize + (queries + 2 * keys) + 2 * queries + 3L * config.IntermediateSize + 2L * config.Rope.RotaryDim + 2;
        if (demand.Layout.IsCyclic)
            perRow += 2L * config.HiddenSize + keys + 1 + 2L * keys * demand.Layout.OwnerLayers; // a chunk before and after its passes, its last K and V
        long perLogitRow = queries + config.HiddenSize + config.VocabularySize + 2L * config.Rope.RotaryDim + 1;
        return sizeof(float) * (demand.Limits.MaxRows * perRow + demand.Limits.MaxLogitRows * perLogitRow);
    }
}
