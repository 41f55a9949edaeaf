using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using InferenceService.Engine;
using InferenceService.Server.Api;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Generation;

/// <summary>
/// One request on its way back: pulls token events, turns them into the text of each choice, and ends choices whose stop
/// string was found. One reader; <see cref="Cancel"/> may come from any thread.
/// </summary>
internal sealed partial class TextGeneration : IDisposable
{
    private static readonly ApiError ClientGone = new(499, "", "", "");

    private readonly ServedModel _model;
    private readonly GenerationOrder _order;
    private readonly PromptStreams _streams;
    private readonly ModelMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly string _requestId;
    private readonly ChoiceText[] _choices;
    private readonly bool[] _begun;
    private int _open;
    private ApiError? _cancelled;
    private ApiError? _failure;

    /// <param name="requestId">Value of <c>x-request-id</c>, for the log.</param>
    public TextGeneration(
        ServedModel model, GenerationOrder order, IReadOnlyList<GenerationStream> streams, ModelMetrics metrics, TimeProvider time, ILogger logger, string requestId)
    {
        (_model, _order, _metrics, _time, _logger, _requestId) = (model, order, metrics, time, logger, requestId);
        _streams = new PromptStreams(streams, time);
        _begun = new bool[streams.Count];
        _choices = new ChoiceText[streams.Count * order.ChoicesPerPrompt];
        _open = _choices.Length;
        for (int i = 0; i < _choices.Length; i++)
        {
            int[] ids = order.Prompts[i / order.ChoicesPerPrompt].Ids;
            ReadOnlySpan<int> tail = ids.AsSpan(Math.Max(0, ids.Length - GenerationOrder.PromptTail));
            var detokenizer = model.Tokenizer.NewDetokenizer(order.Text.SkipSpecialTokens, tail, keepsRest: order.Echoes is not null);
            _choices[i] = new ChoiceText(i, i / order.ChoicesPerPrompt, i % order.ChoicesPerPrompt, order.Text, detokenizer);
        }
    }

    /// <summary>Choices by index: prompt · n + number.</summary>
    public IReadOnlyList<ChoiceText> Choices => _choices;

    /// <summary>All choices have ended well.</summary>
    public bool IsComplete => _open == 0;

    /// <summary>It ended early; <see cref="Failure"/> says why, unless the client left.</summary>
    public bool IsBroken { get; private set; }

    /// <summary>Why it ended early: what the client was told, or would have been. Null when it is complete, or the client left.</summary>
    public ApiError? Failure => _failure ?? (IsComplete || ReferenceEquals(_cancelled, ClientGone) ? null : _cancelled);

    /// <summary>Whether at least one prompt has left the engine's queue.</summary>
    public bool IsScheduled => _streams.IsScheduled;

    /// <summary>It has not ended, and for no reason of ours: the client is gone.</summary>
    public bool IsAbandoned => !IsComplete && Failure is null;

    /// <summary>Tokens so far.</summary>
    public Usage Usage
    {
        get
        {
            int prompt = 0, completion = 0, cached = 0;
            for (int i = 0; i < _streams.Count; i++)
            {
                prompt += _order.Prompts[i].Ids.Length;
                cached += _streams[i].CachedTokens;
            }

            foreach (ChoiceText choice in _choices)
                completion += choice.Generated;
            return new Usage(prompt, completion, cached);
        }
    }

    /// <summary>What all choices held in the KV cache when they ended; complete after <see cref="SettleAsync"/>.</summary>
    public KvUsage KvUsage
    {
        get
        {
            var sum = new KvUsage((_order.Requests[0].KvPolicy ?? _model.Policies.Default).Name, 0, 0, 0, 0);
            for (int i = 0; i < _streams.Count; i++)
            {
                KvUsage one = _streams[i].KvUsage;
                sum = sum with
                {
                    LogicalTokens = sum.LogicalTokens + one.LogicalTokens,
                    KeptTokens = sum.KeptTokens + one.KeptTokens,
                    Bytes = sum.Bytes + one.Bytes,
                    BytesFull = sum.BytesFull + one.BytesFull,
                };
            }

            return sum;
        }
    }

    /// <summary>The engine's side of each prompt.</summary>
    public PromptStreams Streams => _streams;

    /// <summary>Tokens so far of a prompt's longest choice.</summary>
    public int Longest(int prompt)
    {
        int longest = 0;
        foreach (ChoiceText choice in _choices.AsSpan(prompt * _order.ChoicesPerPrompt, _order.ChoicesPerPrompt))
            longest = Math.Max(longest, choice.Generated);
        return longest;
    }

    /// <summary>Log-probabilities of a prompt, when asked for.</summary>
    public IReadOnlyList<TokenLogprobs?>? PromptLogprobs(int prompt) => _streams[prompt].PromptLogprobs;

    /// <summary>Waits for <see cref="TryAdvance"/> to have something, at most so long, and not at all for an engine that has yet to hear of <see cref="Cancel"/>.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> WaitAsync(TimeSpan atMost)
    {
        WaitOutcome outcome = await _streams.WaitAsync(atMost);
        bool over = (outcome is WaitOutcome.Ended or WaitOutcome.Cancelled) && !IsComplete && !IsBroken;
        if (over && _cancelled is { } reason)
            Break(reason);
        else if (over)
            BreakOff("the engine ended the stream without ending its choices");
        return outcome != WaitOutcome.TimedOut;
    }

    /// <summary>Waits until the engine, too, has ended every choice: one that a stop string ended goes on for a step. Broken, if <see cref="Cancel"/> came first.</summary>
    public async ValueTask SettleAsync()
    {
        WaitOutcome outcome;
        // The timer of an earlier wait may still fall due in this one, which has none.
        while ((outcome = await _streams.WaitAsync(Timeout.InfiniteTimeSpan)) is WaitOutcome.Ready or WaitOutcome.TimedOut)
        {
            while (_streams.TryRead(out _, out _))
            {
            }
        }

        if (outcome == WaitOutcome.Cancelled)
            Break(_cancelled!);
    }

    /// <summary>Takes one event and applies it to its choice. False when none is there, or all is over.</summary>
    public bool TryAdvance([NotNullWhen(true)] out ChoiceText? choice)
    {
        choice = null;
        while (!IsComplete && !IsBroken && _streams.TryRead(out int prompt, out GeneratedToken token))
        {
            ChoiceText target = _choices[(prompt * _order.ChoicesPerPrompt) + token.Choice];
            if (target.FinishReason is not null)
                continue;
            if (token.Finish == FinishReason.Cancelled)
                Break(_cancelled ?? ServerLifecycle.ShuttingDown);
            else if (token.Finish == FinishReason.Error)
                BreakOff(_streams[prompt].Error);
            else if (token.Finish == FinishReason.NothingAllowed)
                Break(Admission.NothingAllowed);
            else
                choice = Apply(prompt, target, token);
            if (choice is not null)
                return true;
        }

        return false;
    }

    /// <summary>
    /// Ends everything. The first caller's reason counts; null: the client has left. Whoever waits goes on at once; the engine, whose thread
    /// may be in a long step, gives back what it holds when it comes round.
    /// </summary>
    public void Cancel(ApiError? because)
    {
        Interlocked.CompareExchange(ref _cancelled, because ?? ClientGone, null);
        _streams.Cancel();
    }

    /// <summary>Ends everything because it cannot be sent: a mistake of ours, which whoever calls this has told the log.</summary>
    public void Fail() => Break(Admission.Failed);

    /// <summary>What to say when it waited too long.</summary>
    public ApiError QueueTimeout(Configuration.AdmissionOptions options) => _metrics.Drain.Advise(Admission.QueueTimeout(options));

    /// <summary>Tokens that the engine worked on: none before it began.</summary>
    public long TokensUsed => IsScheduled ? Usage.Prompt + (long)Usage.Completion : 0;

    /// <summary>Where the request stands, for the count of clients that left.</summary>
    public DisconnectPhase Phase => !IsScheduled ? DisconnectPhase.Queue : Array.Exists(_begun, begun => begun) ? DisconnectPhase.Decode : DisconnectPhase.Prefill;

    /// <summary>Gives back what is still held; a request that has not ended is cancelled.</summary>
    public void Dispose()
    {
        if (!IsComplete && !IsBroken)
        {
            Cancel(null);
            Break(ClientGone);
        }

        _streams.Dispose();
    }

    private ChoiceText Apply(int prompt, ChoiceText choice, in GeneratedToken token)
    {
        Begin(prompt, choice);
        if (token.TokenId >= 0)
            ObserveToken(choice);
        if (choice.Apply(token))
            _streams[prompt].CancelChoice(token.Choice);
        if (choice.FinishReason is not null)
            Finish(prompt, choice);
        return choice;
    }

    private void Begin(int prompt, ChoiceText choice)
    {
        if (!_begun[prompt])
        {
            _begun[prompt] = true;
            _metrics.FirstToken(_streams[prompt].Times);
        }

        if (choice.Generated == 0 && _order.Echoes is { } echoes)
            choice.Echo(echoes[prompt].Text, echoes[prompt].Tokens(_streams[prompt].PromptLogprobs));
    }

    private void ObserveToken(ChoiceText choice)
    {
        long now = _time.GetTimestamp();
        if (choice.LastToken != 0)
            _metrics.TokenGap(_time.GetElapsedTime(choice.LastToken, now).TotalSeconds);
        choice.LastToken = now;
    }

    private void Finish(int prompt, ChoiceText choice)
    {
        _open--;
        _metrics.ChoiceFinished(choice.FinishReason == "length" ? FinishedReason.Length : FinishedReason.Stop, choice.Generated);
        int longest = 0;
        foreach (ChoiceText other in _choices.AsSpan(prompt * _order.ChoicesPerPrompt, _order.ChoicesPerPrompt))
        {
            if (other.FinishReason is null)
                return;
            longest = Math.Max(longest, other.Generated);
        }

        GenerationStream stream = _streams[prompt];
        _metrics.RequestFinished(new FinishedRequest(
            stream.Times, _order.Prompts[prompt].Ids.Length, stream.CachedTokens, longest, _order.Requests[prompt].MaxTokens, _order.ChoicesPerPrompt));
    }

    // An engine that ends takes all its requests with it; one that goes on has failed this one alone.
    private void BreakOff(string? detail)
    {
        LogFailed(_logger, _requestId, _model.Names[0], detail ?? "no detail");
        Break(_model.Engine.State == EngineState.Dead ? Admission.EngineDead : Admission.Failed);
    }

    private void Break(ApiError error)
    {
        IsBroken = true;
        _failure = ReferenceEquals(error, ClientGone) ? null : error;
        _streams.Cancel();
        bool failed = ReferenceEquals(error, Admission.Failed) || ReferenceEquals(error, Admission.EngineDead);
        foreach (ChoiceText choice in _choices)
        {
            if (choice.FinishReason is null)
                _metrics.ChoiceFinished(failed ? FinishedReason.Error : FinishedReason.Abort, choice.Generated);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "Request {RequestId} to {Model} failed in the engine: {Detail}")]
    private static partial void LogFailed(ILogger logger, string requestId, string model, string detail);
}
