using System.Collections.Concurrent;
using System.Security.Cryptography;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Scheduling;
using InferenceService.Models;

namespace InferenceService.Engine;

/// <summary>Accepts or refuses requests before they reach the engine thread. Any thread, never blocks.</summary>
internal sealed class Door
{
    private readonly InferenceEngine _engine;
    private readonly Inbox _inbox;
    private readonly ConcurrentDictionary<int, ClientShare> _clients = new();
    private readonly EngineLoop _loop;
    private readonly Action<Generation> _cancel;
    private readonly Action _wake;
    private readonly ulong _seed;
    private long _arrivals;

    /// <summary>The door of one engine.</summary>
    public Door(InferenceEngine engine, Inbox inbox, EngineLoop loop)
    {
        (_engine, _inbox, _loop) = (engine, inbox, loop);
        (_cancel, _wake) = (inbox.EnqueueCancellation, inbox.Wake);
        _seed = engine.Options.Seed is long seed ? unchecked((ulong)seed) : BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
    }

    /// <summary>Accepts a request, or says in one line why not.</summary>
    public SubmitResult Submit(GenerationRequest request)
    {
        CheckArguments(request);
        IKvPolicy policy = request.KvPolicy ?? _engine.DefaultPolicy;
        if (Refuse(request, policy) is SubmitResult refusal)
            return refusal;
        ClientShare client = _clients.GetOrAdd(request.Client, static number => new ClientShare(number));
        if (!_inbox.TryReserve(client, request.Choices, request.PromptTokens.Length))
            return new SubmitResult(null, Refusal.QueueFull, $"{_inbox.Choices} choices are waiting already, {client.ChoicesAtDoor} of them the caller's own");

        long arrival = Interlocked.Increment(ref _arrivals);
        var ticket = new Ticket(
            arrival, request.Sampling.Seed ?? DrawSeed(arrival), _engine.Time.GetTimestamp(), _engine.Options.Scheduling == SchedulingPolicy.Priority, client);
        var generation = new Generation(request, policy, ticket, _engine.Options.StreamCapacity, _cancel, _wake)
        {
            PrefixRoot = _loop.Cache.PrefixRoot(request.CacheSalt, policy.Mask),
        };
        if (_inbox.TryEnqueue(generation))
        {
            _loop.Meter.Of(policy).CountRequest();
            return new SubmitResult(generation, Refusal.None, null);
        }

        _inbox.Unreserve(request.Choices, request.PromptTokens.Length);
        client.Unreserve(request.Choices, request.PromptTokens.Length);
        return Closed();
    }

    private SubmitResult? Refuse(GenerationRequest request, IKvPolicy policy)
    {
        if (_loop.State != EngineState.Running)
            return Closed();
        if (_loop.Recovery.OpenFor is not null)
            return new SubmitResult(null, Refusal.DeviceRefuses, "the device refuses steps, and will be tried again");
        long tokens = (long)request.PromptTokens.Length + request.MaxTokens;
        if (tokens > _engine.Options.MaxModelLength)
        {
            return new SubmitResult(null, Refusal.ContextTooLong,
                $"{request.PromptTokens.Length} prompt tokens and {request.MaxTokens} output tokens exceed the context length of {_engine.Options.MaxModelLength}");
        }

        int most = _engine.MaxTokensUnder(policy, request.PromptTokens.Length);
        if (tokens > most)
        {
            return new SubmitResult(null, Refusal.NeverFits,
                $"{request.PromptTokens.Length} prompt tokens and {request.MaxTokens} output tokens exceed the {most} that the KV pool can hold");
        }

        return RefusePolicy(policy);
    }

    private SubmitResult? RefusePolicy(IKvPolicy policy)
    {
        if (RefusePacking(policy) is string reason)
            return new SubmitResult(null, Refusal.PolicyNotAllowed, reason);
        if (policy == _engine.DefaultPolicy)
            return null;
        try
        {
            KvLayout wanted = policy.Layout(_engine.Model.Config), loaded = _engine.Model.Layout;
            if (wanted.Grouping <= loaded.Grouping && wanted.SourceLayer.AsSpan().SequenceEqual(loaded.SourceLayer.AsSpan()))
                return null;
            return new SubmitResult(null, Refusal.PolicyNotAllowed,
                $"KV policy '{policy.Name}' needs a cache grouped by {wanted.Grouping}; this model was loaded with one grouped by {loaded.Grouping}");
        }
        catch (CheckpointException refusal)
        {
            return new SubmitResult(null, Refusal.PolicyNotAllowed, refusal.Message);
        }
    }

    private string? RefusePacking(IKvPolicy policy)
    {
        KvPacking packing = policy.Packing;
        int bits = _engine.Options.KvPackedBits;
        if (packing.IsNone)
            return null;
        if (packing.Bits != bits)
        {
            return $"KV policy '{policy.Name}' asks for K and V of {packing.Bits} bits; "
                + (bits == 0 ? "this model's cache was loaded without quantised blocks" : $"this model's cache was loaded for {bits}");
        }

        bool whole = packing.Residual > 0 && packing.Residual % KvBlockFormat.PackedGroup == 0;
        return whole ? null : $"KV policy '{policy.Name}' keeps {packing.Residual} tokens exact; allowed: multiples of {KvBlockFormat.PackedGroup}";
    }

    private SubmitResult Closed() => _loop.State == EngineState.Dead
        ? new SubmitResult(null, Refusal.EngineDead, "the engine has ended with a fault")
        : new SubmitResult(null, Refusal.ShuttingDown, "the engine is shutting down");

    private void CheckArguments(GenerationRequest request)
    {
        if (request.PromptTokens.IsEmpty)
            throw new ArgumentException("The prompt has no tokens.", nameof(request));
        CheckIds("Prompt", request.PromptTokens.Span);
        CheckIds("Forced", request.Sampling.ForcedTokens.Span);
        ArgumentOutOfRangeException.ThrowIfNegative(request.MaxTokens);
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Choices, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(request.Client);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(request.Client, GenerationRequest.MaxClient);
        if (!double.IsFinite(request.Weight) || request.Weight <= 0)
            throw new ArgumentOutOfRangeException(nameof(request), $"The weight {request.Weight} is not a finite number above 0.");
    }

    private void CheckIds(string kind, ReadOnlySpan<int> ids)
    {
        int vocabulary = _engine.Model.Config.VocabularySize;
        foreach (int id in ids)
            if ((uint)id >= (uint)vocabulary)
                throw new ArgumentException($"{kind} token {id} lies outside the vocabulary of {vocabulary}.");
    }

    /// <summary>SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the engine's seed and the order of arrival.</summary>
    private long DrawSeed(long arrival)
    {
        unchecked
        {
            ulong z = _seed + (ulong)arrival * 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return (long)(z ^ (z >> 31));
        }
    }
}
