using InferenceService.Server.Api;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>Counts inference requests under way and refuses new ones while models load or the server ends.</summary>
internal sealed class WorkGate(RequestDelegate next, ServerLifecycle lifecycle, InferenceMetrics metrics)
{
    /// <summary>Runs the request, or answers 503.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        if (context.GetEndpoint()?.Metadata.GetMetadata<InferenceRoute>() is null)
        {
            await next(context);
            return;
        }

        // Count first, then look: a drain that begins in between waits for this request.
        using IDisposable tracked = lifecycle.TrackRequest();
        if (lifecycle.Refusal is not { } refusal)
        {
            await next(context);
            return;
        }

        metrics.Rejected(lifecycle.Phase == ServerPhase.Loading ? RejectionReason.ModelLoading : RejectionReason.ShuttingDown);
        context.Response.Headers.Connection = "close";
        await OpenAiError.WriteAsync(context, refusal);
    }
}
