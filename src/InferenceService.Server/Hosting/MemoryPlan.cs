using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Server.Hosting;

/// <summary>What the sizes of a plan depend on.</summary>
internal sealed record MemoryDemand
{
    /// <summary>Shape of the model.</summary>
    public required ModelConfig Config { get; init; }

    /// <summary>Groups and lanes.</summary>
    public required KvLayout Layout { get; init; }

    /// <summary>Weight bytes as stored.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Workspace sizes.</summary>
    public required DecoderLimits Limits { get; init; }

    /// <summary>Element type of K and V.</summary>
    public required DType KvType { get; init; }

    /// <summary>Tokens a block.</summary>
    public required int BlockSize { get; init; }

    /// <summary>Bits of packed blocks; 0 = none.</summary>
    public int PackedBits { get; init; }

    /// <summary>Most sequences in a batch.</summary>
    public required int MaxNumSeqs { get; init; }

    /// <summary>Wanted context; null = the checkpoint's.</summary>
    public required int? MaxModelLength { get; init; }

    /// <summary>Wanted pool; null = a share of <see cref="AvailableBytes"/>.</summary>
    public required long? KvCacheBytes { get; init; }

    /// <summary>Memory this model may take, weights included.</summary>
    public required long AvailableBytes { get; init; }
}

/// <summary>Where a model's memory goes, fixed before anything is allocated.</summary>
internal sealed record MemoryPlan
{
    // What the pool may take of the memory that weights and workspaces leave; the rest is for page cache, the managed heap and others.
    private const double PoolShare = 0.5;

    /// <summary>Weights as stored.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Activations and logits of one step.</summary>
    public required long WorkspaceBytes { get; init; }

    /// <summary>The KV pool: whole blocks.</summary>
    public required long PoolBytes { get; init; }

    /// <summary>One block.</summary>
    public required int BlockBytes { get; init; }

    /// <summary>Blocks of the pool.</summary>
    public required int Blocks { get; init; }

    /// <summary>Tokens the pool holds when nothing is evicted.</summary>
    public required long Tokens { get; init; }

    /// <summary>Prompt and output together, after any reduction.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>What was asked for, when it had to be reduced.</summary>
    public int? ReducedFrom { get; init; }

    /// <summary>Sequences of the greatest length that fit at once.</summary>
    public double Concurrency => Tokens / (double)MaxModelLength;

    /// <summary>Lays out the memory.</summary>
    /// <exception cref="CheckpointException">Not even one sequence of one block fits, or the context exceeds the checkpoint's.</exception>
    public static MemoryPlan For(MemoryDemand demand)
    {
        int wanted = demand.MaxModelLength ?? demand.Config.MaxPositions;
        if (wanted > demand.Config.MaxPositions)
            throw new CheckpointException($"--max-model-len: {wanted} exceeds the checkpoint's own {demand.Config.MaxPositions} positions.");
        int blockBytes = checked(new KvBlockFormat(demand.KvType, demand.BlockSize, demand.Config.HeadDim, demand.Layout.LanesPerGroup, demand.PackedBits).BlockBytes);
        int groups = demand.Layout.Groups;
        long workspace = Workspace(demand);
        long useful = (long)demand.MaxNumSeqs * BlocksFor(wanted, demand.BlockSize) * groups + (demand.PackedBits == 0 ? 0 : 1);
        long bytes = demand.KvCacheBytes ?? (long)(PoolShare * Math.Max(0, demand.AvailableBytes - demand.WeightBytes - workspace));
        long affordable = bytes / blockBytes;
        // An explicit size is taken as given: blocks beyond the running sequences still hold prefixes.
        long blocks = Math.Min(demand.KvCacheBytes is null ? Math.Min(affordable, useful) : affordable, int.MaxValue / demand.BlockSize);
        long spare = demand.PackedBits == 0 ? 0 : 1; // packing takes a block before it gives any back
        long perGroup = (blocks - spare) / groups;
        if (perGroup < 1)
        {
            throw new CheckpointException(
                $"The KV pool of {bytes} bytes holds no sequence: one block a group takes {(groups + spare) * blockBytes} bytes; raise --kv-cache-memory-bytes.");
        }

        int length = (int)Math.Min(wanted, perGroup * demand.BlockSize);
        return new MemoryPlan
        {
            WeightBytes = demand.WeightBytes,
            WorkspaceBytes = workspace,
            PoolBytes = blocks * blockBytes,
            BlockBytes = blockBytes,
            Blocks = (int)blocks,
            Tokens = perGroup * demand.BlockSize,
            MaxModelLength = length,
            ReducedFrom = length < wanted ? wanted : null,
        };
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
