using InferenceService.Engine;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Health;

/// <summary>Answers the three questions probes ask. Load and queue length never matter.</summary>
internal sealed class HealthState(IModelCatalog catalog, ServerLifecycle lifecycle, EngineSection engine)
{
    private static readonly ApiError Dead = new(503, "server_error", "engine_dead", "The engine has ended with a fault.") { ShouldRetry = false };
    private static readonly ApiError Stuck = new(503, "server_error", "engine_stuck", "The engine has not finished a step for too long.") { ShouldRetry = false };

    private readonly TimeSpan _watchdog = engine.Watchdog;

    /// <summary>Can it answer requests at all? Null = yes.</summary>
    public ApiError? Health => lifecycle.Phase == ServerPhase.Loading ? lifecycle.Refusal : EngineDead;

    /// <summary>Should the process be restarted? Null = no.</summary>
    public ApiError? Liveness => EngineDead ?? EngineStuck;

    /// <summary>Should new requests be sent here? Null = yes.</summary>
    public ApiError? Readiness => EngineDead ?? lifecycle.Phase switch
    {
        ServerPhase.Loading => lifecycle.Refusal,
        ServerPhase.Ready => lifecycle.IsDrained ? ServerLifecycle.OutOfService : EngineRecovering,
        _ => ServerLifecycle.ShuttingDown,
    };

    private ApiError? EngineDead => Find(static engine => engine.State == EngineState.Dead) is null ? null : Dead;

    private ApiError? EngineStuck => Find(engine => EngineWatch.StuckIn(engine, _watchdog) is not null) is null ? null : Stuck;

    private ApiError? EngineRecovering => Find(static engine => engine.OpenFor is not null) is { } engine ? Admission.EngineRecovering(engine) : null;

    private InferenceEngine? Find(Func<InferenceEngine, bool> matches)
    {
        foreach (ServedModel model in catalog.Models)
        {
            if (matches(model.Engine))
                return model.Engine;
        }

        return null;
    }
}
