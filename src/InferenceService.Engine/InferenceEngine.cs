using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine;

/// <summary>The one public door of an engine. Any thread may call it; one thread behind it owns all mutable state.</summary>
public sealed class InferenceEngine : IAsyncDisposable
{
    /// <summary>Allocates the KV pool and starts the engine thread.</summary>
    /// <param name="model">Loaded with the policy's layout; disposed by the caller after the engine.</param>
    /// <param name="policy">Default KV policy.</param>
    /// <param name="options">Sizes and bounds.</param>
    /// <param name="time">Clock.</param>
    /// <exception cref="ArgumentException">Options do not fit the model, for example a pool smaller than one block per group.</exception>
    public InferenceEngine(DecoderModel model, IKvPolicy policy, EngineOptions options, TimeProvider time)
    {
        (Model, Options, DefaultPolicy, Time) = (model, options, policy, time);
    }

    /// <summary>The decoder.</summary>
    public DecoderModel Model { get; }

    /// <summary>Sizes and bounds.</summary>
    public EngineOptions Options { get; }

    /// <summary>Policy of requests that name none.</summary>
    public IKvPolicy DefaultPolicy { get; }

    /// <summary>Clock of all timestamps.</summary>
    public TimeProvider Time { get; }

    /// <summary>Last published counters.</summary>
    public EngineStatistics Statistics { get; }

    /// <summary>State of the engine thread.</summary>
    public EngineState State { get; }

    /// <summary>Most tokens (prompt and output) of one sequence that the pool can hold.</summary>
    public int MaxSequenceTokens => Options.MaxModelLength;

    /// <summary>Accepts or refuses; never blocks.</summary>
    public SubmitResult Submit(GenerationRequest request) => new(null, Refusal.EngineDead, $"{Model.Config.Architecture}: not built yet");

    /// <summary>Stops taking work; ends when the last accepted request has ended, or on cancellation after cancelling the rest.</summary>
    public Task DrainAsync(CancellationToken cancellationToken) => Task.FromException(new InvalidOperationException($"{State}"));

    /// <summary>Drops every unowned cached prefix.</summary>
    public void ResetPrefixCache() => throw new InvalidOperationException($"{State}");

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
