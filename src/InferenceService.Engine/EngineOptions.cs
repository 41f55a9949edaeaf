using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Faults;

namespace InferenceService.Engine;

/// <summary>Order of waiting requests.</summary>
public enum SchedulingPolicy
{
    /// <summary>First come, first served.</summary>
    Fcfs,

    /// <summary>Lower <see cref="GenerationRequest.Priority"/> first, then arrival.</summary>
    Priority,
}

/// <summary>Sizes and bounds of one engine.</summary>
public sealed record EngineOptions
{
    /// <summary>Most sequences in a batch.</summary>
    public int MaxNumSeqs { get; init; } = 16;

    /// <summary>Most tokens of a step, decode and prompt chunks together.</summary>
    public int MaxBatchTokens { get; init; } = 2048;

    /// <summary>Most tokens of one sequence's prompt chunk; null = whatever the budget leaves.</summary>
    public int? MaxChunkTokens { get; init; }

    /// <summary>
    /// Prompt chunks of a model whose layers read from above begin at multiples of this and count their passes against
    /// <see cref="MaxBatchTokens"/>; whole blocks. Smaller chunks are more exact, larger ones read the weights less often. Other models
    /// do not look at it, and these not at <see cref="MaxChunkTokens"/>.
    /// </summary>
    public int PromptChunkTokens { get; init; } = 64;

    /// <summary>Prompt and output together, at most; within the checkpoint's own limit.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>Slots a block.</summary>
    public int BlockSize { get; init; } = 16;

    /// <summary>Bytes of the KV pool.</summary>
    public required long KvCacheBytes { get; init; }

    /// <summary>Element type of K and V in the pool: f32, f16 or bf16.</summary>
    public DType KvType { get; init; } = DType.F32;

    /// <summary>Bits of packed blocks, 4 or 8, for requests whose policy asks for them; 0 = none may. <see cref="BlockSize"/> is then a multiple of 32.</summary>
    public int KvPackedBits { get; init; }

    /// <summary>Reuse full prompt blocks between requests.</summary>
    public bool PrefixCaching { get; init; } = true;

    /// <summary>Host bytes for the K and V of preempted sequences whose policy drops tokens; beyond it they are replayed.</summary>
    public long SwapBytes { get; init; } = 4L << 30;

    /// <summary>
    /// Attention sums that a policy of this engine may want (<see cref="IKvPolicy.Sums"/>): memory for them is reserved at the start, as
    /// <see cref="InferenceEngine.SumBytes"/> says, and filled only as far as observed sequences have slots.
    /// </summary>
    public AttentionSums Sums { get; init; } = AttentionSums.Columns | AttentionSums.Band | AttentionSums.RangeMass;

    /// <summary>Kinds of token ids, for policies that treat some alike.</summary>
    public TokenClasses TokenClasses { get; init; } = TokenClasses.None;

    /// <summary>Order of waiting requests.</summary>
    public SchedulingPolicy Scheduling { get; init; } = SchedulingPolicy.Fcfs;

    /// <summary>Where the backend chooses tokens itself, call a decode step before the tokens of the one before it are read. Changes no token.</summary>
    public bool AsyncScheduling { get; init; } = true;

    /// <summary>Most waiting choices (a request with n = 4 counts 4).</summary>
    public int MaxQueuedRequests { get; init; } = 1024;

    /// <summary>Most waiting prompt tokens.</summary>
    public int MaxQueuedTokens { get; init; } = 1_000_000;

    /// <summary>Events a caller may leave unread before its choices pause.</summary>
    public int StreamCapacity { get; init; } = 1024;

    /// <summary>Wait before a step that the device refused is taken again, smaller; twice as long each time.</summary>
    public TimeSpan StepRetryDelay { get; init; } = TimeSpan.FromMilliseconds(2);

    /// <summary>How long a device that refuses even the smallest steps is left alone before it is tried again; half a second to a day.</summary>
    public TimeSpan CircuitBreak { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>What tests let go wrong.</summary>
    public IFaultInjection Faults { get; init; } = NoFaults.Instance;

    /// <summary>Seed from which requests without one draw theirs; null = random.</summary>
    public long? Seed { get; init; }
}
