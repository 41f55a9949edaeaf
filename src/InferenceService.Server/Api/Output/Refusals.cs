using InferenceService.Server.Generation;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Api.Output;

/// <summary>Answers of requests that never reach the engine, or that it does not take.</summary>
internal sealed class Refusals(InferenceMetrics metrics)
{
    /// <summary>Counts the refusal and answers with the error.</summary>
    public Task WriteAsync(HttpContext http, ApiError error)
    {
        metrics.Rejected(Reason(error));
        return OpenAiError.WriteAsync(http, error);
    }

    private static RejectionReason Reason(ApiError error) => error.Code switch
    {
        "context_length_exceeded" => RejectionReason.ContextLength,
        "kv_budget_exceeded" => RejectionReason.KvBudget,
        "server_overloaded" => RejectionReason.QueueFull,
        Admission.QueueTimeoutCode => RejectionReason.QueueTimeout,
        "model_loading" => RejectionReason.ModelLoading,
        "shutting_down" => RejectionReason.ShuttingDown,
        "engine_dead" => RejectionReason.EngineDead,
        "engine_recovering" => RejectionReason.EngineRecovering,
        "rate_limit_exceeded" => RejectionReason.RateLimit,
        "insufficient_permissions" => RejectionReason.Forbidden,
        _ => RejectionReason.InvalidRequest,
    };
}
