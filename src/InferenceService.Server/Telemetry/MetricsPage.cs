using System.Buffers;
using System.Globalization;
using InferenceService.Engine;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Telemetry;

/// <summary>Lays out <c>/metrics</c>: every series under our prefix, the field's well-known ones also under vLLM's.</summary>
/// <remarks>Reads counters only: no lock, no file, nothing per request, so that pickers may scrape many times a second.</remarks>
internal sealed class MetricsPage(InferenceMetrics metrics, HttpMetrics http, TelemetryOptions options)
{
    /// <summary>Prefix of our series.</summary>
    public const string Prefix = "inference_";

    /// <summary>Prefix of the aliases.</summary>
    public const string VllmPrefix = "vllm:";

    private static readonly string[] FinishedNames = [.. Enum.GetNames<FinishedReason>().Select(name => name.ToLowerInvariant())];

    /// <summary>Writes the whole page.</summary>
    public void Write(IBufferWriter<byte> output)
    {
        var text = new PrometheusText(output);
        Snapshot[] models = [.. metrics.Models.Select(model => new Snapshot(model, model.Model.Engine.Statistics))];
        WriteShared(text, Prefix, models);
        if (options.VllmCompatibleMetrics)
        {
            WriteShared(text, VllmPrefix, models);
            Gauge(text, VllmPrefix, "gpu_cache_usage_perc", "Old name of kv_cache_usage_perc.", models, m => m.Usage);
            Distribution(text, VllmPrefix, "time_per_output_token_seconds", "Old name of inter_token_latency_seconds.", m => m.InterTokenLatency);
        }

        WriteOwn(text, models);
        WriteHttp(text);
    }

    private void WriteShared(PrometheusText text, string prefix, Snapshot[] models)
    {
        WriteEngine(text, prefix, models);
        text.Family(prefix, "request_success_total", "counter", "Choices that ended, by reason.");
        foreach (ModelMetrics model in metrics.Models)
        {
            for (int i = 0; i < FinishedNames.Length; i++)
            {
                string labels = $"{model.Labels},{PrometheusText.Label("finished_reason", FinishedNames[i])}";
                text.Sample(prefix, "request_success_total", labels, model.Finished((FinishedReason)i));
            }
        }

        Distribution(text, prefix, "time_to_first_token_seconds", "From arrival to the first token.", m => m.TimeToFirstToken);
        Distribution(text, prefix, "inter_token_latency_seconds", "Between two tokens of a choice.", m => m.InterTokenLatency);
        Distribution(text, prefix, "request_time_per_output_token_seconds", "Mean of a request between two tokens.", m => m.TimePerOutputToken);
        Distribution(text, prefix, "e2e_request_latency_seconds", "From arrival to the last token.", m => m.EndToEnd);
        Distribution(text, prefix, "request_queue_time_seconds", "From arrival to the first step.", m => m.QueueTime);
        Distribution(text, prefix, "request_prefill_time_seconds", "From the first step to the first token.", m => m.PrefillTime);
        Distribution(text, prefix, "request_decode_time_seconds", "From the first token to the last.", m => m.DecodeTime);
        Distribution(text, prefix, "request_inference_time_seconds", "From the first step to the last token.", m => m.InferenceTime);
        Distribution(text, prefix, "request_prompt_tokens", "Prompt tokens of a request.", m => m.PromptTokens);
        Distribution(text, prefix, "request_generation_tokens", "Tokens generated for a choice.", m => m.GenerationTokens);
        Distribution(text, prefix, "request_max_num_generation_tokens", "Tokens of a request's longest choice.", m => m.MaxGenerationTokens);
        Distribution(text, prefix, "request_params_max_tokens", "Token limit of a request.", m => m.ParamsMaxTokens);
        Distribution(text, prefix, "request_prefill_kv_computed_tokens", "Prompt tokens that were not in the prefix cache.", m => m.PrefillComputed);
        Distribution(text, prefix, "iteration_tokens_total", "Tokens of a step, decode and prompt chunks together.", m => m.Model.Engine.StepTokens);
        Distribution(text, prefix, "request_params_n", "Choices of a request.", m => m.ParamsN);
    }

    private static void WriteEngine(PrometheusText text, string prefix, Snapshot[] models)
    {
        Gauge(text, prefix, "num_requests_running", "Sequences in the batch.", models, m => m.Now.Running);
        Gauge(text, prefix, "num_requests_waiting", "Sequences waiting for admission into the batch.", models, m => m.Now.Waiting);
        Labelled(text, prefix, "num_requests_waiting_by_reason", "gauge", "Waiting sequences by what they wait for.", models,
            (PrometheusText.Label("reason", "capacity"), m => m.Now.Waiting));
        Gauge(text, prefix, "kv_cache_usage_perc", "Used share of the KV blocks, 0 to 1.", models, m => m.Usage);
        Counter(text, prefix, "num_preemptions_total", "Sequences put back to waiting.", models, m => m.Preemptions);
        Counter(text, prefix, "prompt_tokens_total", "Prompt tokens of admitted requests.", models, m => m.PromptTokens);
        Counter(text, prefix, "generation_tokens_total", "Tokens generated.", models, m => m.GeneratedTokens);
        Counter(text, prefix, "prompt_tokens_cached_total", "Prompt tokens found in the prefix cache.", models, m => m.HitTokens);
        Labelled(text, prefix, "prompt_tokens_by_source_total", "counter", "Prompt tokens by where their KV came from.", models,
            (PrometheusText.Label("source", "local_compute"), m => m.PromptTokens - m.HitTokens),
            (PrometheusText.Label("source", "local_cache_hit"), m => m.HitTokens),
            (PrometheusText.Label("source", "external_kv_transfer"), _ => 0));
        Counter(text, prefix, "prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", models, m => m.QueryTokens);
        Counter(text, prefix, "prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", models, m => m.HitTokens);
        text.Family(prefix, "cache_config_info", "gauge", "Shape of the KV cache.");
        foreach (Snapshot model in models)
            text.Sample(prefix, "cache_config_info", CacheLabels(model), 1);
    }

    private void WriteOwn(PrometheusText text, Snapshot[] models)
    {
        text.Family(Prefix, "build_info", "gauge", "What this build is.");
        text.Sample(Prefix, "build_info", $"{PrometheusText.Label("version", ServerVersion.Text)},{PrometheusText.Label("commit", ServerVersion.Commit)}", 1);
        WritePolicies(text);
        Gauge(text, Prefix, "kv_blocks_cached", "Unowned blocks that still hold a reusable prefix.", models, m => m.Now.BlocksCached);
        Distribution(text, Prefix, "engine_step_seconds", "Time of the engine's steps.", m => m.Model.Engine.StepSeconds);

        text.Family(Prefix, "requests_rejected_total", "counter", "Requests turned away, by reason.");
        for (int i = 0; i < InferenceMetrics.RejectionNames.Length; i++)
            text.Sample(Prefix, "requests_rejected_total", PrometheusText.Label("reason", InferenceMetrics.RejectionNames[i]), metrics.Count((RejectionReason)i));
        text.Family(Prefix, "client_disconnects_total", "counter", "Clients that went away before their answer was complete.");
        for (int i = 0; i < InferenceMetrics.DisconnectNames.Length; i++)
            text.Sample(Prefix, "client_disconnects_total", PrometheusText.Label("phase", InferenceMetrics.DisconnectNames[i]), metrics.Count((DisconnectPhase)i));
    }

    // Policies are those that the model can serve, so the registry bounds the labels.
    private void WritePolicies(PrometheusText text)
    {
        PolicyMetrics[] all = [.. metrics.Models.SelectMany(model => model.Policies)];
        text.Family(Prefix, "kv_compression_ratio", "gauge", "How many times less ended requests held in the KV cache than all of their tokens would have taken.");
        foreach (PolicyMetrics policy in all)
            text.Sample(Prefix, "kv_compression_ratio", policy.Labels, policy.CompressionRatio);
        text.Family(Prefix, "kv_bytes", "gauge", "Bytes of KV blocks that sequences hold, on the device or swapped out; a block that several share counts for each.");
        foreach (PolicyMetrics policy in all)
        {
            text.Sample(Prefix, "kv_bytes", policy.DeviceLabels, policy.DeviceBytes);
            text.Sample(Prefix, "kv_bytes", policy.HostLabels, policy.HostBytes);
        }

        text.Family(Prefix, "kv_evicted_tokens_total", "counter", "Tokens that the policy dropped while their request went on, mean over the lanes.");
        foreach (PolicyMetrics policy in all)
            text.Sample(Prefix, "kv_evicted_tokens_total", policy.Labels, policy.EvictedTokens);
        text.Family(Prefix, "kv_policy_requests_total", "counter", "Requests accepted, by KV policy.");
        foreach (PolicyMetrics policy in all)
            text.Sample(Prefix, "kv_policy_requests_total", policy.Labels, policy.Requests);
    }

    private void WriteHttp(PrometheusText text)
    {
        text.Family("", "http_requests_total", "counter", "HTTP requests by route, method and status.");
        foreach (((string handler, string method, int status), long count) in http.Requests)
        {
            string statusText = status.ToString(CultureInfo.InvariantCulture);
            text.Sample("", "http_requests_total", $"{HttpMetrics.Labels(handler, method)},{PrometheusText.Label("status", statusText)}", count);
        }

        text.Family("", "http_request_duration_seconds", "histogram", "Time until the last byte of the answer.");
        foreach (((string handler, string method), Histogram histogram) in http.Durations)
            text.Histogram("", "http_request_duration_seconds", HttpMetrics.Labels(handler, method), histogram);
    }

    private void Distribution(PrometheusText text, string prefix, string name, string help, Func<ModelMetrics, Histogram> pick)
    {
        text.Family(prefix, name, "histogram", help);
        foreach (ModelMetrics model in metrics.Models)
            text.Histogram(prefix, name, model.Labels, pick(model));
    }

    private static void Gauge(PrometheusText text, string prefix, string name, string help,
        Snapshot[] models, Func<Snapshot, double> value) =>
        Labelled(text, prefix, name, "gauge", help, models, ("", value));

    private static void Counter(PrometheusText text, string prefix, string name, string help,
        Snapshot[] models, Func<Snapshot, double> value) =>
        Labelled(text, prefix, name, "counter", help, models, ("", value));

    private static void Labelled(PrometheusText text, string prefix, string name, string type, string help,
        Snapshot[] models,
        params ReadOnlySpan<(string Label, Func<Snapshot, double> Value)> series)
    {
        text.Family(prefix, name, type, help);
        foreach (Snapshot model in models)
        {
            foreach ((string label, Func<Snapshot, double> value) in series)
                text.Sample(prefix, name, label.Length == 0 ? model.Metrics.Labels : $"{model.Metrics.Labels},{label}", value(model));
        }
    }

    private static string CacheLabels(Snapshot model)
    {
        EngineOptions engine = model.Metrics.Model.Engine.Options;
        string blocks = model.Now.BlocksTotal.ToString(CultureInfo.InvariantCulture);
        return string.Join(
            ',',
            model.Metrics.Labels,
            PrometheusText.Label("block_size", engine.BlockSize.ToString(CultureInfo.InvariantCulture)),
            PrometheusText.Label("num_gpu_blocks", blocks),
            PrometheusText.Label("num_cpu_blocks", blocks),
            PrometheusText.Label("cache_dtype", engine.KvPackedBits == 0 ? ModelPlan.Name(engine.KvType) : $"int{engine.KvPackedBits}"),
            PrometheusText.Label("device", model.Metrics.Model.Device),
            PrometheusText.Label("enable_prefix_caching", engine.PrefixCaching ? "True" : "False"));
    }

    // One model's counters of one moment, the warm-up taken out.
    private readonly record struct Snapshot(ModelMetrics Metrics, EngineStatistics Now)
    {
        public long Preemptions => Now.Preemptions - Metrics.Baseline.Preemptions;

        public long PromptTokens => Now.PromptTokens - Metrics.Baseline.PromptTokens;

        public long GeneratedTokens => Now.GeneratedTokens - Metrics.Baseline.GeneratedTokens;

        public long QueryTokens => Now.PrefixQueryTokens - Metrics.Baseline.PrefixQueryTokens;

        public long HitTokens => Now.PrefixHitTokens - Metrics.Baseline.PrefixHitTokens;

        public double Usage => Now.BlocksTotal == 0 ? 0 : Now.BlocksUsed / (double)Now.BlocksTotal;
    }
}
