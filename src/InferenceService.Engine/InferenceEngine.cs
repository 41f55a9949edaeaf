using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine;

/// <summary>The one public door of an engine. Any thread may call it; one thread behind it owns all mutable state.</summary>
public sealed class InferenceEngine : IAsyncDisposable
{
    private readonly Door _door;
    private readonly Inbox _inbox;
    private readonly EngineLoop _loop;
    private readonly bool _ownThread;
    private readonly int _blocks;

    /// <summary>Allocates the KV pool and starts the engine thread.</summary>
    /// <param name="model">Loaded with the policy's layout; disposed by the caller after the engine.</param>
    /// <param name="policy">Default KV policy.</param>
    /// <param name="options">Sizes and bounds.</param>
    /// <param name="time">Clock.</param>
    /// <exception cref="ArgumentException">Options do not fit the model, for example a pool smaller than one block per group.</exception>
    public InferenceEngine(DecoderModel model, IKvPolicy policy, EngineOptions options, TimeProvider time)
        : this(model, policy, options, time, startThread: true)
    {
    }

    /// <summary>As above; without a thread, tests step <see cref="Loop"/> themselves.</summary>
    internal InferenceEngine(DecoderModel model, IKvPolicy policy, EngineOptions options, TimeProvider time, bool startThread)
    {
        int blocks = EngineSizes.Check(model, options);
        (Model, Options, DefaultPolicy, Time) = (model, EngineSizes.Clamp(model, options), policy, time);
        _blocks = blocks;
        _inbox = new Inbox(Options.MaxQueuedRequests, Options.MaxQueuedTokens);
        _loop = new EngineLoop(model, Options, blocks, _inbox, time);
        _door = new Door(this, _inbox, _loop);
        _ownThread = startThread;
        if (startThread)
            new Thread(RunOnOwnThread) { IsBackground = true, Name = $"engine {model.Config.Architecture}" }.Start();
    }

    /// <summary>The decoder.</summary>
    public DecoderModel Model { get; }

    /// <summary>Sizes and bounds.</summary>
    public EngineOptions Options { get; }

    /// <summary>Layout of a block of the pool.</summary>
    public KvBlockFormat BlockFormat => _loop.Cache.Format;

    /// <summary>Policy of requests that name none.</summary>
    public IKvPolicy DefaultPolicy { get; }

    /// <summary>Clock of all timestamps.</summary>
    public TimeProvider Time { get; }

    /// <summary>Last published counters.</summary>
    public EngineStatistics Statistics => _loop.Statistics.Read();

    /// <summary>What requests have done since start, by KV policy.</summary>
    public IEnumerable<KvPolicyCounters> KvPolicies => _loop.Meter.All;

    /// <summary>Tokens of each step since start, decode and prompt chunks together.</summary>
    public Histogram StepTokens => _loop.Clock.Tokens;

    /// <summary>Prompt tokens of accepted requests that have not begun.</summary>
    public int WaitingPromptTokens => _inbox.Tokens;

    /// <summary>Most choices of requests that a client submits one after the other, and that an empty queue takes all.</summary>
    /// <param name="client">As <see cref="GenerationRequest.Client"/>.</param>
    /// <param name="last">Choices of the last of them.</param>
    public int MaxChoicesTogether(int client, int last) => Inbox.MostTogether(client, Options.MaxQueuedRequests, last);

    /// <summary>The same of prompt tokens.</summary>
    /// <param name="client">As <see cref="GenerationRequest.Client"/>.</param>
    /// <param name="last">Prompt tokens of the last of them.</param>
    public int MaxPromptTokensTogether(int client, int last) => Inbox.MostTogether(client, Options.MaxQueuedTokens, last);

    /// <summary>Seconds of each step since start.</summary>
    public Histogram StepSeconds => _loop.Clock.Seconds;

    /// <summary>Seconds of each step since start outside model and sampler: scheduling, packing, compressing, retiring.</summary>
    public Histogram StepHostSeconds => _loop.Clock.HostSeconds;

    /// <summary>Of a sample of the cached blocks: seconds from the first use until the content was given up.</summary>
    public Histogram BlockLifetime => _loop.Ages.Lifetime;

    /// <summary>Of the same blocks: seconds from the last use until the content was given up.</summary>
    public Histogram BlockIdleBeforeEviction => _loop.Ages.IdleBeforeEviction;

    /// <summary>Of the same blocks: seconds unused until a prompt found them again.</summary>
    public Histogram BlockReuseGap => _loop.Ages.ReuseGap;

    /// <summary>Share of the slots of held blocks, a moment ago, that no token takes: 0 to 1.</summary>
    public double PoolFragmentation => _loop.Meter.Fragmentation;

    /// <summary>Steps that the device refused, for want of memory or resources, and that were taken again, smaller.</summary>
    public long RefusedSteps => _loop.Recovery.RefusedSteps;

    /// <summary>What the device said when it last refused a step; null = never.</summary>
    public string? DeviceRefusal => _loop.Recovery.Refusal;

    /// <summary>
    /// The device refuses every step: nobody runs, new requests are turned away, and after so long it is tried again. Null = it works, as
    /// far as is known.
    /// </summary>
    public TimeSpan? OpenFor => _loop.Recovery.OpenFor;

    /// <summary>The step that is being taken; null between steps.</summary>
    public RunningStep? RunningStep => _loop.RunningStep;

    /// <summary>State of the engine thread.</summary>
    public EngineState State => _loop.State;

    /// <summary>Completes when the engine thread has ended, in order or with a <see cref="Fault"/>; all requests have their ends by then.</summary>
    public Task Ended => _loop.Ended;

    /// <summary>What ended the engine thread; null unless <see cref="State"/> is <see cref="EngineState.Dead"/>.</summary>
    public Exception? Fault => _loop.Fault;

    /// <summary>
    /// Most tokens (prompt and output) of one sequence that the pool can hold under a policy. A mask bounds what is ever held; other
    /// policies need room for the whole prompt first, as computed. Where everything is packed behind it, more fits than a prompt may have.
    /// </summary>
    /// <param name="policy">Its policy.</param>
    /// <param name="promptTokens">How many of them are the prompt; a prompt that does not fit is told what would.</param>
    public int MaxTokensUnder(IKvPolicy policy, int promptTokens = 0)
    {
        int groupBlocks = (_blocks - EngineSizes.SpareBlocks(Options)) / Model.Layout.Groups, most = Options.MaxModelLength;
        if (policy.Mask.PeakBlocks(most, Options.BlockSize) <= groupBlocks)
            return most;
        int whole = (int)Math.Min(most, (long)groupBlocks * Options.BlockSize);
        return promptTokens > whole || !PacksEverything(policy) ? whole : (int)Math.Clamp(PackedTokens(policy.Packing), whole, most);
    }

    /// <summary>Tokens that fit when each group keeps its residual, and the block that the next token begins, as computed.</summary>
    private long PackedTokens(KvPacking packing)
    {
        int exact = 1 + (packing.Residual + Options.BlockSize - 1) / Options.BlockSize, groups = Model.Layout.Groups;
        long parents = _blocks - EngineSizes.SpareBlocks(Options) - (long)groups * exact;
        return parents < 0 ? 0 : (exact + parents * BlockFormat.ChildrenPerBlock / groups) * Options.BlockSize;
    }

    private void RunOnOwnThread()
    {
        Model.Backend.BeginThread();
        _loop.Run();
    }

    // A selector may keep blocks from being packed, and only it knows which.
    private bool PacksEverything(IKvPolicy policy)
    {
        if (policy.Packing.IsNone || policy.Packing.Bits != Options.KvPackedBits || !policy.Mask.IsNone)
            return false;
        return policy.NewSelector(new KvSelectorContext(Model.Config, Model.Layout, TokenClasses.None, 1, null)) is null;
    }

    /// <summary>Bytes reserved for attention sums: for every lane of every sequence of a batch, a number or two a token.</summary>
    /// <param name="layout">Lanes of a sequence.</param>
    /// <param name="sequences"><see cref="EngineOptions.MaxNumSeqs"/>.</param>
    /// <param name="tokens"><see cref="EngineOptions.MaxModelLength"/>.</param>
    /// <param name="sums"><see cref="EngineOptions.Sums"/>.</param>
    /// <param name="heads">Query heads of a KV head.</param>
    public static long SumBytes(KvLayout layout, int sequences, int tokens, AttentionSums sums, int heads) =>
        SumStore.Bytes(layout.OwnerLayers * layout.KvHeads, tokens, sequences, sums, heads);

    /// <summary>The engine's thread body, for tests.</summary>
    internal EngineLoop Loop => _loop;

    /// <summary>Accepts or refuses; never blocks.</summary>
    /// <exception cref="ArgumentException">The prompt is empty or holds an id outside the vocabulary, or a count is negative: ranges are the caller's to check.</exception>
    public SubmitResult Submit(GenerationRequest request) => _door.Submit(request);

    /// <summary>Stops taking work; ends when the last accepted request has ended, or on cancellation after cancelling the rest.</summary>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        _loop.Drain(cancelRest: false);
        using CancellationTokenRegistration registration =
            cancellationToken.UnsafeRegister(static loop => ((EngineLoop)loop!).Drain(cancelRest: true), _loop);
        await _loop.Ended.ConfigureAwait(false);
    }

    /// <summary>Drops every unowned cached prefix.</summary>
    public void ResetPrefixCache() => _loop.ResetPrefixes();

    /// <summary>Cancels what still runs and ends the thread.</summary>
    public async ValueTask DisposeAsync()
    {
        _loop.Drain(cancelRest: true);
        if (!_ownThread)
            _loop.Run();
        await _loop.Ended.ConfigureAwait(false);
        _inbox.Dispose();
    }
}
