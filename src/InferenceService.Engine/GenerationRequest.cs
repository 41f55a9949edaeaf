using System.Collections.Immutable;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine;

/// <summary>An order from outside: token ids in, token ids out. Immutable; knows no text.</summary>
public sealed record GenerationRequest
{
    /// <summary>Prompt, at least one id, each inside the vocabulary.</summary>
    public required ReadOnlyMemory<int> PromptTokens { get; init; }

    /// <summary>How tokens are chosen.</summary>
    public required SamplingParams Sampling { get; init; }

    /// <summary>Most tokens to generate per choice; 0 only scores the prompt.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Independent continuations (n); they share one prefill.</summary>
    public int Choices { get; init; } = 1;

    /// <summary>Ids that end a choice besides the model's own EOS ids.</summary>
    public ImmutableArray<int> StopTokenIds { get; init; } = [];

    /// <summary>The model's EOS ids do not end a choice.</summary>
    public bool IgnoreEos { get; init; }

    /// <summary>Lower runs first; only under <see cref="SchedulingPolicy.Priority"/>.</summary>
    public int Priority { get; init; }

    /// <summary>Largest <see cref="Client"/>: the engine remembers what each was given.</summary>
    public const int MaxClient = 4096;

    /// <summary>Who sent it: requests of different numbers share the engine by <see cref="Weight"/>, within a priority. 0 = nobody tells callers apart.</summary>
    public int Client { get; init; }

    /// <summary>What is due to its client against the others, more than 0 and finite; the latest request's counts.</summary>
    public double Weight { get; init; } = 1;

    /// <summary>Mixed into the first block hash: isolates prefix reuse between tenants. Null = shared.</summary>
    public string? CacheSalt { get; init; }

    /// <summary>KV policy; null = the model's default. Refused at the door when it does not accept the loaded layout.</summary>
    public IKvPolicy? KvPolicy { get; init; }
}
