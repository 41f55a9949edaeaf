using InferenceService.Engine;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Health;

/// <summary>Answers the three questions probes ask. Load and queue length never matter.</summary>
internal sealed partial class HealthState(
    IModelCatalog catalog, ServerLifecycle lifecycle, EngineSection engine, TimeProvider time, ILogger<HealthState> logger)
{
    private static readonly ApiError Dead = new(503, "server_error", "engine_dead", "The engine has ended with a fault.") { ShouldRetry = false };
    private static readonly ApiError Stuck = new(503, "server_error", "engine_stuck", "The engine has not finished a step for too long.") { ShouldRetry = false };

    private int _deathLogged;

    /// <summary>Can it answer requests at all? Null = yes.</summary>
    public ApiError? Health => lifecycle.Phase == ServerPhase.Loading ? lifecycle.Refusal : EngineDead;

    /// <summary>Should the process be restarted? Null = no.</summary>
    public ApiError? Liveness => EngineDead ?? EngineStuck;

    /// <summary>Should new requests be sent here? Null = yes.</summary>
    public ApiError? Readiness => EngineDead ?? lifecycle.Phase switch
    {
        ServerPhase.Loading => lifecycle.Refusal,
        ServerPhase.Ready => lifecycle.IsDrained ? ServerLifecycle.OutOfService : null,
        _ => ServerLifecycle.ShuttingDown,
    };

    private ApiError? EngineDead
    {
        get
        {
            foreach (ServedModel model in catalog.Models)
            {
                if (model.Engine.State != EngineState.Dead)
                    continue;
                if (Interlocked.Exchange(ref _deathLogged, 1) == 0)
                    LogDead(logger, model.Engine.Fault, model.Names[0]);
                return Dead;
            }

            return null;
        }
    }

    // An idle engine waits for work as long as it likes; a busy one must come round.
    private ApiError? EngineStuck
    {
        get
        {
            foreach (ServedModel model in catalog.Models)
            {
                EngineStatistics statistics = model.Engine.Statistics;
                bool busy = statistics.Running + statistics.Waiting > 0 && statistics.LastStepTimestamp != 0;
                if (busy && time.GetElapsedTime(statistics.LastStepTimestamp) > engine.Watchdog)
                    return Stuck;
            }

            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Critical, Message = "The engine of {Model} has ended with a fault; the process should be restarted")]
    private static partial void LogDead(ILogger logger, Exception? fault, string model);
}
