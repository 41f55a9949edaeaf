using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class MemoryPlanTests
{
    private static readonly ModelConfig Config = new()
    {
        Architecture = "LlamaForCausalLM",
        HiddenSize = 64,
        Layers = 4,
        Heads = 4,
        KvHeads = 2,
        HeadDim = 16,
        IntermediateSize = 128,
        VocabularySize = 1000,
        MaxPositions = 4096,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10000, RotaryDim = 16 },
        Windows = [0, 0, 0, 0],
        UsesRope = [true, true, true, true],
    };

    // One token: 4 layers, 2 heads, K and V of 16 elements, two bytes each.
    private const int TokenBytes = 4 * 2 * 2 * 16 * 2;

    [Fact]
    public void The_pool_is_no_larger_than_the_running_sequences_can_use()
    {
        MemoryPlan plan = MemoryPlan.For(Demand() with { AvailableBytes = 1L << 40 });
        Assert.Equal(8 * 4096, plan.Tokens);
        Assert.Equal(8 * 4096L * TokenBytes, plan.PoolBytes);
        Assert.Equal(8.0, plan.Concurrency);
        Assert.Null(plan.ReducedFrom);
    }

    [Fact]
    public void Half_of_what_weights_and_workspaces_leave_goes_to_the_pool()
    {
        MemoryDemand demand = Demand() with { AvailableBytes = 24L << 20, WeightBytes = 8L << 20 };
        MemoryPlan plan = MemoryPlan.For(demand);
        long left = demand.AvailableBytes - demand.WeightBytes - plan.WorkspaceBytes;
        Assert.InRange(plan.PoolBytes, (left / 2) - (16 * TokenBytes), left / 2);
    }

    [Fact]
    public void A_devices_own_memory_goes_to_the_pool_as_a_whole_and_swap_to_the_hosts()
    {
        MemoryDemand demand = Demand() with { AvailableBytes = 24L << 20, WeightBytes = 8L << 20, PoolShare = 1, HostBytes = 6L << 20, MaxNumSeqs = 64 };
        MemoryPlan plan = MemoryPlan.For(demand);
        long left = demand.AvailableBytes - demand.WeightBytes - plan.WorkspaceBytes;
        Assert.InRange(plan.PoolBytes, left - (16 * TokenBytes), left);
        Assert.Equal(3L << 20, plan.SwapBytes);
    }

    [Fact]
    public void A_refusal_names_the_parts_and_the_flag_that_gives_more()
    {
        MemoryDemand demand = Demand() with { AvailableBytes = 8L << 20, WeightBytes = 8L << 20, PoolShare = 1, MoreFlag = "--gpu-memory-utilization" };
        string message = Assert.Throws<CheckpointException>(() => MemoryPlan.For(demand)).Message;
        Assert.StartsWith("The KV pool of 0 bytes (of 8388608 bytes weights take 8388608, workspaces ", message, StringComparison.Ordinal);
        Assert.EndsWith("raise --gpu-memory-utilization.", message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_explicit_pool_is_taken_as_given_in_whole_blocks()
    {
        MemoryPlan plan = MemoryPlan.For(Demand() with { KvCacheBytes = (100L * 16 * TokenBytes) + 5 });
        Assert.Equal(100, plan.Blocks);
        Assert.Equal(100 * 16L * TokenBytes, plan.PoolBytes);
        Assert.Equal(1600, plan.Tokens);
    }

    [Fact]
    public void The_context_shrinks_to_what_the_pool_holds()
    {
        MemoryPlan plan = MemoryPlan.For(Demand() with { KvCacheBytes = 10L * 16 * TokenBytes });
        Assert.Equal(160, plan.MaxModelLength);
        Assert.Equal(4096, plan.ReducedFrom);
    }

    [Fact]
    public void A_window_keeps_the_context_long_in_a_small_pool()
    {
        IKvPolicy window = KvPolicyRegistry.Create("streaming-llm", new Dictionary<string, string> { ["sink_tokens"] = "16", ["recent_tokens"] = "47" });
        MemoryPlan plan = MemoryPlan.For(Demand() with { Policy = window, KvCacheBytes = 18L * 16 * TokenBytes });
        // A block of sinks, 48 seen and 48 of a chunk, and one more for windows that begin inside a block.
        Assert.Equal((4096, null, 8, true), (plan.MaxModelLength, plan.ReducedFrom, plan.SequenceBlocks, plan.IsBounded));
        Assert.Equal(18 / 8.0, plan.Concurrency);
        Assert.Equal(TokenBytes, plan.TokenBytes);
    }

    [Fact]
    public void Groups_share_the_blocks()
    {
        MemoryPlan plan = MemoryPlan.For(Demand() with { Layout = KvLayout.Of(Config, KvGrouping.Layer), KvCacheBytes = 100L * 16 * TokenBytes });
        Assert.Equal(400, plan.Blocks);
        Assert.Equal(1600, plan.Tokens);
    }

    [Theory]
    [InlineData(1L << 30, 4097, "--max-model-len: 4097 exceeds the checkpoint's own 4096 positions.")]
    [InlineData(100L, 16, "The KV pool of 100 bytes holds no sequence: one block a group takes 8192 bytes; raise --kv-cache-memory-bytes.")]
    public void What_cannot_work_is_refused_in_one_line(long pool, int length, string message)
    {
        var error = Assert.Throws<CheckpointException>(() => MemoryPlan.For(Demand() with { KvCacheBytes = pool, MaxModelLength = length }));
        Assert.Equal(message, error.Message);
    }

    [Fact]
    public void Attention_sums_have_their_place_beside_the_pool()
    {
        const AttentionSums Sums = AttentionSums.Columns | AttentionSums.Band;
        MemoryDemand demand = Demand() with { AvailableBytes = 64L << 20 };
        Assert.Equal(0, MemoryPlan.For(demand).SumBytes);
        // 8 sequences of 4 · 2 lanes, two numbers of four bytes a token.
        MemoryPlan plan = MemoryPlan.For(demand with { Sums = Sums });
        Assert.Equal(8L * 8 * 8 * 4096, plan.SumBytes);
        long left = demand.AvailableBytes - demand.WeightBytes - plan.WorkspaceBytes - plan.SumBytes;
        Assert.InRange(plan.PoolBytes, Math.Min(8 * 4096L * TokenBytes, left / 2) - (16 * TokenBytes), left / 2);
    }

    [Fact]
    public void A_context_that_is_cut_to_the_pool_cuts_its_attention_sums_too()
    {
        MemoryDemand demand = Demand() with { AvailableBytes = 4L << 20, MaxNumSeqs = 64, Sums = AttentionSums.Columns | AttentionSums.Band, Limits = new DecoderLimits(64, 64) };
        MemoryPlan plan = MemoryPlan.For(demand);
        Assert.NotNull(plan.ReducedFrom);
        Assert.Equal(64L * 8 * 8 * plan.MaxModelLength, plan.SumBytes);
        long left = demand.AvailableBytes - demand.WeightBytes - plan.WorkspaceBytes;
        Assert.InRange(plan.PoolBytes, ((left - plan.SumBytes) / 2) - (64 * TokenBytes), (left - plan.SumBytes) / 2);
    }

    [Fact]
    public void Attention_sums_beyond_the_memory_are_refused_with_their_sizes()
    {
        MemoryDemand demand = Demand() with { MaxNumSeqs = 4096, KvCacheBytes = 64 << 20, AvailableBytes = 256 << 20, Sums = AttentionSums.Columns | AttentionSums.Band };
        var error = Assert.Throws<CheckpointException>(() => MemoryPlan.For(demand));
        Assert.Equal(
            "The attention sums of 4096 sequences of 8 lanes of 4096 tokens take 1073741824 bytes, and 268435456 are available; "
            + "lower --max-num-seqs or --max-model-len, or leave fast-gen out of KvCache:AllowedPolicies.", error.Message);
    }

    [Fact]
    public void Swapped_sequences_may_take_half_of_the_rest_up_to_four_gibibytes()
    {
        MemoryDemand demand = Demand() with { AvailableBytes = 24L << 20, MaxNumSeqs = 64 };
        MemoryPlan plan = MemoryPlan.For(demand);
        Assert.Equal((demand.AvailableBytes - demand.WeightBytes - plan.WorkspaceBytes - plan.PoolBytes) / 2, plan.SwapBytes);
        Assert.Equal(4L << 30, MemoryPlan.For(demand with { AvailableBytes = 1L << 40 }).SwapBytes);
        Assert.Equal(0, MemoryPlan.For(demand with { SwapBytes = 0 }).SwapBytes);
        Assert.Equal(1L << 34, MemoryPlan.For(demand with { SwapBytes = 1L << 34 }).SwapBytes);
    }

    private static MemoryDemand Demand() => new()
    {
        Config = Config,
        Layout = KvLayout.Of(Config, KvGrouping.Model),
        Policy = KvPolicyRegistry.Create("full"),
        WeightBytes = 1 << 20,
        Limits = new DecoderLimits(512, 64),
        KvType = DType.BF16,
        BlockSize = 16,
        MaxNumSeqs = 8,
        MaxModelLength = null,
        KvCacheBytes = null,
        AvailableBytes = 1L << 30,
    };
}
