using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine;

/// <summary>Where a sequence stands.</summary>
internal enum SequenceState
{
    /// <summary>Accepted at the door, not yet seen by the engine thread.</summary>
    New,

    /// <summary>Holds no blocks: not yet admitted, or preempted.</summary>
    Waiting,

    /// <summary>Holds blocks and takes part in steps.</summary>
    Running,

    /// <summary>Ended; holds nothing.</summary>
    Finished,
}

/// <summary>The mutable life of one choice of a request inside the engine. Engine thread only, once submitted.</summary>
internal sealed class Sequence
{
    private readonly List<UInt128> _prefixKeys = [];
    private int[]? _tokens; // prompt and output; null while the request's own prompt says it all, so that a long queue costs little

    /// <summary>A new choice of a generation.</summary>
    /// <param name="generation">Its request.</param>
    /// <param name="choice">Which of its choices, from 0.</param>
    /// <param name="arrival">Order at the door; later sequences have larger numbers.</param>
    /// <param name="seed">Seed of the request; the choice draws from seed + choice.</param>
    public Sequence(Generation generation, int choice, long arrival, long seed)
    {
        (Generation, Choice, Arrival, PromptLength) = (generation, choice, arrival, generation.Request.PromptTokens.Length);
        TokenCount = PromptLength;
        Sampling = new SamplerState(generation.Request, unchecked(seed + choice));
    }

    /// <summary>The request it belongs to.</summary>
    public Generation Generation { get; }

    /// <summary>Index among the choices of its request.</summary>
    public int Choice { get; }

    /// <summary>Order at the door.</summary>
    public long Arrival { get; }

    /// <summary>The order from outside.</summary>
    public GenerationRequest Request => Generation.Request;

    /// <summary>Where it stands.</summary>
    public SequenceState State { get; set; }

    /// <summary>Why it ended; None while it goes on.</summary>
    public FinishReason Finish { get; set; }

    /// <summary>Prompt and generated tokens.</summary>
    public ReadOnlySpan<int> Tokens => _tokens is null ? Request.PromptTokens.Span : _tokens.AsSpan(0, TokenCount);

    /// <summary>Number of <see cref="Tokens"/>.</summary>
    public int TokenCount { get; private set; }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptLength { get; }

    /// <summary>Tokens generated.</summary>
    public int GeneratedCount => TokenCount - PromptLength;

    /// <summary>Generated tokens.</summary>
    public ReadOnlySpan<int> Generated => _tokens is null ? [] : _tokens.AsSpan(PromptLength, GeneratedCount);

    /// <summary>Tokens whose K and V are in the cache.</summary>
    public int Computed { get; set; }

    /// <summary>Tokens whose K and V are not yet in the cache.</summary>
    public int Remaining => TokenCount - Computed;

    /// <summary>Its blocks; null before its first admission.</summary>
    public SequenceCache? Cache { get; set; }

    /// <summary>Its policy's state; null: everything is kept.</summary>
    public KvSelector? Selector { get; set; }

    /// <summary>Attention adds to its sums in the running step.</summary>
    public bool IsObserved => Cache is { SumRow: >= 0 } held && held.Watch.Sums != AttentionSums.None;

    /// <summary>How its old blocks are quantised.</summary>
    public KvPacking Packing => Generation.Policy.Packing;

    /// <summary>
    /// What a token after the prompt says depends on what was dropped or packed when its turn came, so that such tokens are recomputed
    /// one by one. Under a mask nothing is dropped that any row would see.
    /// </summary>
    public bool GoesTokenByToken => !Packing.IsNone || (Selector is not null && Generation.Policy.Mask.IsNone);

    /// <summary>The selector it had before its cache was lost, until it gets a new one: decisions it took stand.</summary>
    public KvSelector? PreviousSelector { get; set; }

    /// <summary>Its K and V in host memory while it is preempted.</summary>
    public SwappedKv? Swapped { get; set; }

    /// <summary>What it held when it was preempted; null = never.</summary>
    public KvUsage? HeldBefore { get; set; }

    /// <summary>Slots dropped since its cache was last empty.</summary>
    public long DroppedSlots { get; set; }

    /// <summary>The most that this has ever been: what its policy's counter knows of.</summary>
    public long CountedSlots { get; set; }

    /// <summary>Counts and random numbers of its sampler.</summary>
    public SamplerState Sampling { get; }

    /// <summary>Its caller was told that it ended.</summary>
    public bool HasSentEnd { get; set; }

    /// <summary>It no longer counts as waiting at the door.</summary>
    public bool HasLeftDoor { get; set; }

    /// <summary>Number of the last step it was put into.</summary>
    public long ScheduledStep { get; set; }

    /// <summary>Log-probabilities of the token sampled last, until published.</summary>
    public TokenLogprobs? Logprobs { get; set; }

    /// <summary>Keys of its full token blocks so far.</summary>
    public ReadOnlySpan<UInt128> PrefixKeys => CollectionsMarshal.AsSpan(_prefixKeys);

    /// <summary>Appends a generated token.</summary>
    public void Append(int token)
    {
        const int tokensAhead = 4096;
        if (_tokens is null)
        {
            _tokens = new int[PromptLength + Math.Clamp(Request.MaxTokens, 1, tokensAhead)];
            Request.PromptTokens.Span.CopyTo(_tokens);
        }
        else if (TokenCount == _tokens.Length)
        {
            Array.Resize(ref _tokens, 2 * _tokens.Length);
        }

        _tokens[TokenCount++] = token;
    }

    /// <summary>Extends <see cref="PrefixKeys"/> to all full blocks of <see cref="Tokens"/>.</summary>
    public void ExtendPrefixKeys(int blockSize)
    {
        _prefixKeys.EnsureCapacity((_tokens?.Length ?? PromptLength) / blockSize);
        for (int block = _prefixKeys.Count; (block + 1) * blockSize <= TokenCount; block++)
        {
            UInt128 parent = block == 0 ? Generation.PrefixRoot : _prefixKeys[block - 1];
            _prefixKeys.Add(PrefixKey.Next(parent, Tokens.Slice(block * blockSize, blockSize)));
        }
    }

    /// <summary>Ends it with an error that its caller will see.</summary>
    public void Fail(string error, FinishReason finish = FinishReason.Error)
    {
        Finish = finish;
        Generation.SetError(error);
    }

    /// <summary>
    /// True when this one runs before <paramref name="other"/>: priority, then the order in which requests first entered a batch (those that never
    /// did come after those that did), then arrival, then choice.
    /// </summary>
    public bool IsBefore(Sequence other)
    {
        Generation mine = Generation, others = other.Generation;
        if (mine.Priority != others.Priority)
            return mine.Priority < others.Priority;
        if (mine.Entry != others.Entry)
            return mine.Entry != 0 && (others.Entry == 0 || mine.Entry < others.Entry);
        return Arrival != other.Arrival ? Arrival < other.Arrival : Choice < other.Choice;
    }
}
