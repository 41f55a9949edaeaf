using InferenceService.Server.Hosting;

namespace InferenceService.Server.Telemetry;

/// <summary>Why a request was turned away before it reached the engine's queue, or while it waited there; or that its time was up.</summary>
internal enum RejectionReason
{
    InvalidRequest,
    ContextLength,
    KvBudget,
    QueueFull,
    QueueTimeout,
    RateLimit,
    ModelLoading,
    ShuttingDown,
    EngineDead,
    EngineRecovering,
    RequestTimeout,
    Unauthorized,
    Forbidden,
}

/// <summary>Where a request was when its client went away.</summary>
internal enum DisconnectPhase
{
    Queue,
    Prefill,
    Decode,
}

/// <summary>Counters of the inference routes. Lock-free; any thread.</summary>
internal sealed class InferenceMetrics(TimeProvider time)
{
    /// <summary>Label values of <see cref="RejectionReason"/>, in its order.</summary>
    public static readonly string[] RejectionNames =
    [
        "invalid_request", "context_length", "kv_budget", "queue_full", "queue_timeout", "rate_limit", "model_loading", "shutting_down", "engine_dead", "engine_recovering",
        "request_timeout", "unauthorized", "forbidden",
    ];

    /// <summary>Label values of <see cref="DisconnectPhase"/>, in its order.</summary>
    public static readonly string[] DisconnectNames = ["queue", "prefill", "decode"];

    private readonly long[] _rejected = new long[RejectionNames.Length];
    private readonly long[] _disconnected = new long[DisconnectNames.Length];
    private readonly Lock _adding = new();
    private volatile ModelMetrics[] _models = [];

    /// <summary>Series of every loaded model.</summary>
    public ModelMetrics[] Models => _models;

    /// <summary>Series of a model; made when first asked for, which is when the model has been loaded.</summary>
    public ModelMetrics For(ServedModel model)
    {
        foreach (ModelMetrics known in _models)
        {
            if (ReferenceEquals(known.Model, model))
                return known;
        }

        lock (_adding)
        {
            if (Array.Find(_models, known => ReferenceEquals(known.Model, model)) is { } other)
                return other;
            var added = new ModelMetrics(model, time);
            _models = [.. _models, added];
            return added;
        }
    }

    /// <summary>A request was turned away.</summary>
    public void Rejected(RejectionReason reason) => Interlocked.Increment(ref _rejected[(int)reason]);

    /// <summary>A client went away before its answer was complete.</summary>
    public void Disconnected(DisconnectPhase phase) => Interlocked.Increment(ref _disconnected[(int)phase]);

    /// <summary>Requests turned away so.</summary>
    public long Count(RejectionReason reason) => Interlocked.Read(ref _rejected[(int)reason]);

    /// <summary>Clients that went away then.</summary>
    public long Count(DisconnectPhase phase) => Interlocked.Read(ref _disconnected[(int)phase]);
}
