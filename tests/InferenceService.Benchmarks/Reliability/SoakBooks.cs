namespace InferenceService.Benchmarks.Reliability;

/// <summary>What the server itself counted, once its clients are gone.</summary>
/// <param name="Owned">Share of the KV blocks that a sequence owns.</param>
/// <param name="HeldBytes">KV bytes that sequences hold, on the device or swapped out.</param>
/// <param name="Busy">Sequences that run or wait.</param>
/// <param name="Accepted">Requests of one prompt that the engine took.</param>
/// <param name="Complete">Of these, those all of whose choices ended by themselves.</param>
/// <param name="Abandoned">Of these, those whose client left first.</param>
/// <param name="TimedOut">Of these, those that waited too long.</param>
/// <param name="Failed">Choices that ended by a fault.</param>
/// <param name="Preemptions">Times that a sequence made way for others.</param>
/// <param name="Generated">Tokens.</param>
/// <param name="PrefixHits">Prompt tokens that came from the prefix cache.</param>
internal sealed record SoakBooks(
    double Owned, double HeldBytes, double Busy, double Accepted, double Complete, double Abandoned, double TimedOut, double Failed, double Preemptions,
    double Generated, double PrefixHits)
{
    /// <summary>Reads them off a metrics page.</summary>
    public static SoakBooks Read(MetricsReading page) => new(
        page.Sum("inference_kv_cache_usage_perc"), page.Sum("inference_kv_bytes"),
        page.Sum("inference_num_requests_running") + page.Sum("inference_num_requests_waiting"),
        page.Sum("inference_kv_policy_requests_total"), page.Sum("inference_request_params_n_count"), page.Sum("inference_client_disconnects_total"),
        page.Sum("inference_requests_rejected_total", "queue_timeout"), page.Sum("inference_request_success_total", "\"error\""),
        page.Sum("inference_num_preemptions_total"), page.Sum("inference_generation_tokens_total"), page.Sum("inference_prefix_cache_hits_total"));

    /// <summary>What does not add up; null = nothing.</summary>
    public string? Fault =>
        Busy != 0 ? $"{Busy} sequences are still busy"
        : Owned != 0 ? $"{Owned:P2} of the KV blocks are still owned"
        : HeldBytes != 0 ? $"{HeldBytes} KV bytes are still held"
        : Accepted != Complete + Abandoned + TimedOut ? $"{Accepted} requests were accepted and {Complete} + {Abandoned} + {TimedOut} ended"
        : Failed != 0 ? $"{Failed} choices failed"
        : null;
}
