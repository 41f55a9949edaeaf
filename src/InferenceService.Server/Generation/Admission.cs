using InferenceService.Engine;
using InferenceService.Server.Api;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Generation;

/// <summary>The engine's door as the API reports it: all prompts of a request are taken, or none and the reason.</summary>
internal static class Admission
{
    /// <summary>Offers the orders to the engine.</summary>
    /// <param name="param">The field that a refusal of the prompt's size names.</param>
    /// <returns>The streams, in order; empty with an error.</returns>
    public static GenerationStream[] Submit(
        InferenceEngine engine, IReadOnlyList<GenerationRequest> orders, AdmissionOptions options, string param, out ApiError? error)
    {
        error = null;
        var streams = new List<GenerationStream>(orders.Count);
        bool complete = false;
        try
        {
            foreach (GenerationRequest order in orders)
            {
                SubmitResult result = engine.Submit(order);
                if (result.Stream is not { } stream)
                {
                    error = Error(result.Refusal, engine, order, options, param);
                    return [];
                }

                streams.Add(stream);
            }

            complete = true;
            return [.. streams];
        }
        finally
        {
            // Whatever the reason, nobody would read what was taken before.
            if (!complete)
                streams.ForEach(stream => stream.Cancel());
        }
    }

    /// <summary>Code of <see cref="QueueTimeout"/>.</summary>
    public const string QueueTimeoutCode = "queue_timeout";

    /// <summary>Waited longer than <see cref="AdmissionOptions.MaxQueueWait"/>.</summary>
    public static ApiError QueueTimeout(AdmissionOptions options) => new(
        options.OverloadStatusCode, "overloaded_error", QueueTimeoutCode,
        $"The request waited {options.MaxQueueWait.TotalSeconds:0.###} s without being started; try again later.")
    {
        RetryAfterSeconds = options.RetryAfterSeconds,
        ShouldRetry = true,
    };

    /// <summary>The server has all that it may hold.</summary>
    public static ApiError Overloaded(AdmissionOptions options, string message) => new(options.OverloadStatusCode, "overloaded_error", "server_overloaded", message)
    {
        RetryAfterSeconds = options.RetryAfterSeconds,
        ShouldRetry = true,
    };

    /// <summary>The engine thread ended with a fault.</summary>
    public static ApiError EngineDead { get; } =
        new(503, "server_error", "engine_dead", "The engine has stopped after a fault.") { ShouldRetry = false };

    /// <summary>The device refuses every step for want of memory or resources; when it will be tried again is when to come back.</summary>
    public static ApiError EngineRecovering(InferenceEngine engine) =>
        new ApiError(503, "unavailable_error", "engine_recovering", "The device has no memory for any step at the moment; try again later.")
            .RetryIn(engine.OpenFor ?? TimeSpan.Zero);

    /// <summary>The request failed inside the engine.</summary>
    public static ApiError Failed { get; } =
        new(500, "server_error", "internal_error", "The request failed while it was being generated.") { ShouldRetry = false };

    /// <summary>The request forbids every token that could come next.</summary>
    public static ApiError NothingAllowed { get; } = new(
        400, "invalid_request_error", "invalid_value",
        "allowed_token_ids, bad_words, logit_bias and min_tokens together leave no token that may come next.", "allowed_token_ids");

    private static ApiError Error(Refusal refusal, InferenceEngine engine, GenerationRequest order, AdmissionOptions options, string param) => refusal switch
    {
        Refusal.QueueFull => Overloaded(options, "The server's queue is full; try again later."),
        Refusal.NeverFits => new ApiError(
            400, "invalid_request_error", "kv_budget_exceeded",
            $"The request needs room for {order.PromptTokens.Length + (long)order.MaxTokens} tokens ({order.PromptTokens.Length} in the {param}, {order.MaxTokens} in the output), "
            + $"but the KV cache holds at most {engine.MaxTokensUnder(order.KvPolicy ?? engine.DefaultPolicy, order.PromptTokens.Length)}.",
            param),
        Refusal.ContextTooLong => PromptBuilder.ContextExceeded(engine.Options.MaxModelLength, order.PromptTokens.Length, order.MaxTokens, param),
        Refusal.PolicyNotAllowed => new ApiError(400, "invalid_request_error", "kv_policy_incompatible", "kv_policy does not accept the layout or block format this model was loaded with.", "kv_policy"),
        Refusal.DeviceRefuses => EngineRecovering(engine),
        Refusal.ShuttingDown => Hosting.ServerLifecycle.ShuttingDown,
        _ => EngineDead with { ShouldRetry = true }, // it had no part in the fault: behind a proxy another instance takes it
    };
}
