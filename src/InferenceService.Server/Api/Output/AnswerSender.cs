using InferenceService.Engine;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Api.Output;

/// <summary>Takes a checked order through the engine's door and sends what comes back, streamed or whole.</summary>
internal sealed class AnswerSender(
    StreamingOptions streaming, AdmissionOptions admission, InferenceMetrics metrics, RequestTelemetry telemetry, ActiveRequests active, Refusals refusals, ServerLifecycle lifecycle,
    TimeProvider time, ILogger<AnswerSender> logger)
{
    /// <summary>Runs until the answer is sent, refused or abandoned.</summary>
    public async Task SendAsync(HttpContext http, AnswerKind kind, AnswerHead head, GenerationOrder order, IAnswerWriter writer, AnswerOptions options, bool stream)
    {
        ServedModel model = head.Served;
        using RequestTrace trace = telemetry.Begin(http, head, kind, order, stream);
        GenerationStream[] streams = Admission.Submit(model.Engine, order.Requests, admission, kind.PromptField, out ApiError? refusal);
        if (refusal is not null)
        {
            trace.Refused(refusal);
            await refusals.WriteAsync(http, refusal);
            return;
        }

        http.Response.Headers[PolicyChoice.Header] = (order.Requests[0].KvPolicy ?? model.Policies.Default).Name;
        using var generation = new TextGeneration(model, order, streams, metrics.For(model), time, logger);
        using IDisposable listed = active.Add(http, kind, head, order, generation, stream);
        // A client that leaves and a server that must end both cancel at once, wherever the request stands.
        using CancellationTokenRegistration left = http.RequestAborted.UnsafeRegister(static state => ((TextGeneration)state!).Cancel(null), generation);
        using CancellationTokenRegistration ending = lifecycle.HardStop.UnsafeRegister(static state => ((TextGeneration)state!).Cancel(ServerLifecycle.ShuttingDown), generation);
        try
        {
            if (!stream)
            {
                await new WholeAnswer(http, generation, writer, options, admission, metrics, time).RunAsync();
                return;
            }

            using var events = new EventStream(http, streaming, time);
            await new StreamedAnswer(http, events, generation, writer, options, streaming, admission, metrics, time).RunAsync();
        }
        finally
        {
            if (generation.IsAbandoned)
                metrics.Disconnected(generation.Phase);
            trace.Ended(generation);
        }
    }
}
