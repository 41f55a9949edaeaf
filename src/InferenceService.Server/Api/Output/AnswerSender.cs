using InferenceService.Engine;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Security;
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
        using CancellationTokenSource? deadline = Deadline(http, order);
        QueueDrain drain = metrics.For(model).Drain;
        drain.Look();
        ApiError? refusal = null;
        using KeyLease? lease = ApiKey.Of(http)?.Account.Admit(order.PromptTokens, order.OutputTokens, out refusal);
        GenerationStream[] streams = refusal is null ? Admission.Submit(model.Engine, order.Requests, admission, kind.PromptField, out refusal) : [];
        if (refusal is not null)
        {
            refusal = refusal.Type == "overloaded_error" ? drain.Advise(refusal) : refusal;
            lease?.Dispose(); // first, so that the headers of the refusal tell what is left
            trace.Refused(refusal);
            await refusals.WriteAsync(http, refusal);
            return;
        }

        using TextGeneration generation = Begin(model, order, streams, http.TraceIdentifier);
        http.Response.Headers[PolicyChoice.Header] = (order.Requests[0].KvPolicy ?? model.Policies.Default).Name;
        using IDisposable listed = active.Add(http, kind, head, order, generation, stream);
        // A client that leaves and a server that must end both cancel at once, wherever the request stands.
        using CancellationTokenRegistration left = http.RequestAborted.UnsafeRegister(static state => ((TextGeneration)state!).Cancel(null), generation);
        using CancellationTokenRegistration ending = lifecycle.HardStop.UnsafeRegister(static state => ((TextGeneration)state!).Cancel(ServerLifecycle.ShuttingDown), generation);
        using CancellationTokenRegistration late = Cancelling(deadline, generation, order);
        try
        {
            if (!stream)
            {
                await new WholeAnswer(http, generation, writer, options, admission, time).RunAsync();
                return;
            }

            using var events = new EventStream(http, streaming, time);
            await new StreamedAnswer(http, events, generation, writer, options, streaming, admission, time).RunAsync();
        }
        catch (Exception mistake) when (mistake is not (StreamCutException or IOException or OperationCanceledException) && !generation.IsBroken)
        {
            generation.Fail(); // it must not look as if the client had left
            throw;
        }
        finally
        {
            lease?.Use(generation.TokensUsed);
            Count(generation);
            trace.Ended(generation);
        }
    }

    // Until something is there that cancels the streams at its own end, nobody would.
    private TextGeneration Begin(ServedModel model, GenerationOrder order, GenerationStream[] streams, string requestId)
    {
        try
        {
            return new TextGeneration(model, order, streams, metrics.For(model), time, logger, requestId);
        }
        catch
        {
            Array.ForEach(streams, stream => stream.Cancel());
            throw;
        }
    }

    private void Count(TextGeneration generation)
    {
        if (generation.Failure?.Code == RequestTimeout.Code)
            metrics.Rejected(RejectionReason.RequestTimeout);
        if (generation.Failure?.Code == Admission.QueueTimeoutCode)
            metrics.Rejected(RejectionReason.QueueTimeout);
        if (generation.IsAbandoned)
            metrics.Disconnected(generation.Phase);
    }

    // A clock of its own: an answer that is being sent, or a client that reads slowly, must not hide that the time is up.
    private CancellationTokenSource? Deadline(HttpContext http, GenerationOrder order)
    {
        if (RequestTimeout.Of(order.Timeout, admission) is not { } limit)
            return null;
        TimeSpan left = limit - RequestArrival.Age(http, time);
        return new CancellationTokenSource(left > TimeSpan.Zero ? left : TimeSpan.Zero, time);
    }

    private CancellationTokenRegistration Cancelling(CancellationTokenSource? deadline, TextGeneration generation, GenerationOrder order) =>
        deadline?.Token.UnsafeRegister(_ => generation.Cancel(RequestTimeout.Error(RequestTimeout.Of(order.Timeout, admission)!.Value)), null) ?? default;
}
