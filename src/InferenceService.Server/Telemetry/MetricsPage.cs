using System.Buffers;
using InferenceService.Engine;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;

namespace InferenceService.Server.Telemetry;

/// <summary>Lays out <c>/metrics</c>: every series under our prefix, the field's well-known ones also under vLLM's.</summary>
/// <remarks>
/// Reads counters only: no lock, no file, nothing per request, and no allocation, so that pickers may scrape many times a second.
/// <c>docs/metrics.md</c> lists what stands here, and a test holds the two together.
/// </remarks>
internal sealed class MetricsPage(InferenceMetrics metrics, HttpMetrics http, TelemetryOptions options, ApiKeys keys)
{
    // Only keys that the operator named: the names bound the labels, and no key shows by its place.
    private readonly (string Labels, KeyAccount Account)[] _keys = [.. keys.All.Where(key => key.IsNamed).Select(key => (PrometheusText.Label("key", key.Name), key.Account))];

    /// <summary>Prefix of our series.</summary>
    public const string Prefix = "inference_";

    /// <summary>Prefix of the aliases.</summary>
    public const string VllmPrefix = "vllm:";

    private static readonly string[] Finished = LabelsOf("finished_reason", [.. Enum.GetNames<FinishedReason>().Select(name => name.ToLowerInvariant())]);
    private static readonly string[] Rejected = LabelsOf("reason", InferenceMetrics.RejectionNames);
    private static readonly string[] Disconnected = LabelsOf("phase", InferenceMetrics.DisconnectNames);
    private static readonly string[] Sources = LabelsOf("source", ["local_compute", "local_cache_hit", "external_kv_transfer"]);
    private static readonly string[] Tiers = LabelsOf("tier", ["device", "host"]);
    private static readonly string Capacity = PrometheusText.Label("reason", "capacity");
    // Three series are there for boards that ask for them, and stay at zero: engines are not replaced, tools and grammars are refused.
    private static readonly Histogram NoGrammars = new(Buckets.Grammar);
    private static readonly string Build = $"{PrometheusText.Label("version", ServerVersion.Text)},{PrometheusText.Label("commit", ServerVersion.Commit)}";

    /// <summary>Writes the whole page.</summary>
    public void Write(IBufferWriter<byte> output)
    {
        var text = new PrometheusText(output);
        ReadOnlySpan<ModelMetrics> known = metrics.Models;
        Snapshot[] rented = ArrayPool<Snapshot>.Shared.Rent(known.Length);
        try
        {
            for (int i = 0; i < known.Length; i++)
                rented[i] = new Snapshot(known[i], known[i].Now);
            ReadOnlySpan<Snapshot> models = rented.AsSpan(0, known.Length);
            WriteShared(text, Prefix, models);
            if (options.VllmCompatibleMetrics)
            {
                WriteShared(text, VllmPrefix, models);
                Gauge(text, VllmPrefix, "gpu_cache_usage_perc", "Old name of kv_cache_usage_perc.", models, static m => m.Usage);
                Distribution(text, VllmPrefix, "time_per_output_token_seconds", "Old name of inter_token_latency_seconds.", models, static m => m.InterTokenLatency);
            }

            WriteOwn(text, models);
        }
        finally
        {
            ArrayPool<Snapshot>.Shared.Return(rented, clearArray: true);
        }

        WriteHttp(text);
    }

    private static void WriteShared(PrometheusText text, string prefix, ReadOnlySpan<Snapshot> models)
    {
        WriteEngine(text, prefix, models);
        WriteLatencies(text, prefix, models);
        Distribution(text, prefix, "request_prompt_tokens", "Prompt tokens of a request.", models, static m => m.PromptTokens);
        Distribution(text, prefix, "request_generation_tokens", "Tokens generated for a choice.", models, static m => m.GenerationTokens);
        Distribution(text, prefix, "request_max_num_generation_tokens", "Tokens of a request's longest choice.", models, static m => m.MaxGenerationTokens);
        Distribution(text, prefix, "request_params_max_tokens", "Token limit of a request.", models, static m => m.ParamsMaxTokens);
        Distribution(text, prefix, "request_prefill_kv_computed_tokens", "Prompt tokens that were not in the prefix cache.", models, static m => m.PrefillComputed);
        Distribution(text, prefix, "request_params_n", "Choices of a request.", models, static m => m.ParamsN);
        Distribution(text, prefix, "iteration_tokens_total", "Tokens of a step, decode and prompt chunks together.", models, static m => m.Model.Engine.StepTokens);
        Distribution(text, prefix, "kv_block_lifetime_seconds", "From a cached block's first use until its content was given up; sampled.",
            models, static m => m.Model.Engine.BlockLifetime);
        Distribution(text, prefix, "kv_block_idle_before_evict_seconds", "From a cached block's last use until its content was given up; sampled.",
            models, static m => m.Model.Engine.BlockIdleBeforeEviction);
        Distribution(text, prefix, "kv_block_reuse_gap_seconds", "How long a cached block lay unused until a prompt found it again; sampled.",
            models, static m => m.Model.Engine.BlockReuseGap);
    }

    private static void WriteEngine(PrometheusText text, string prefix, ReadOnlySpan<Snapshot> models)
    {
        Gauge(text, prefix, "num_requests_running", "Sequences in the batch.", models, static m => m.Now.Running);
        Gauge(text, prefix, "num_requests_waiting", "Sequences waiting for admission into the batch.", models, static m => m.Now.Waiting);
        text.Family(prefix, "num_requests_waiting_by_reason", "gauge", "Waiting sequences by what they wait for.");
        foreach (Snapshot model in models)
            text.Sample(prefix, "num_requests_waiting_by_reason", model.Labels, Capacity, model.Now.Waiting);
        Gauge(text, prefix, "kv_cache_usage_perc", "Used share of the KV blocks, 0 to 1.", models, static m => m.Usage);
        Counter(text, prefix, "num_preemptions_total", "Sequences put back to waiting.", models, static m => m.Now.Preemptions);
        Counter(text, prefix, "prompt_tokens_total", "Prompt tokens of admitted requests.", models, static m => m.Now.PromptTokens);
        Counter(text, prefix, "generation_tokens_total", "Tokens generated.", models, static m => m.Now.GeneratedTokens);
        Counter(text, prefix, "prompt_tokens_cached_total", "Prompt tokens found in the prefix cache.", models, static m => m.Now.PrefixHitTokens);
        text.Family(prefix, "prompt_tokens_by_source_total", "counter", "Prompt tokens by where their KV came from.");
        foreach (Snapshot model in models)
        {
            text.Sample(prefix, "prompt_tokens_by_source_total", model.Labels, Sources[0], model.Now.PromptTokens - model.Now.PrefixHitTokens);
            text.Sample(prefix, "prompt_tokens_by_source_total", model.Labels, Sources[1], model.Now.PrefixHitTokens);
            text.Sample(prefix, "prompt_tokens_by_source_total", model.Labels, Sources[2], 0);
        }

        Counter(text, prefix, "prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", models, static m => m.Now.PrefixQueryTokens);
        Counter(text, prefix, "prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", models, static m => m.Now.PrefixHitTokens);
        text.Family(prefix, "cache_config_info", "gauge", "Shape of the KV cache.");
        foreach (Snapshot model in models)
            text.Sample(prefix, "cache_config_info", model.Labels, model.Metrics.CacheLabels, 1);
    }

    private static void WriteLatencies(PrometheusText text, string prefix, ReadOnlySpan<Snapshot> models)
    {
        text.Family(prefix, "request_success_total", "counter", "Choices that ended, by reason.");
        foreach (Snapshot model in models)
        {
            for (int i = 0; i < Finished.Length; i++)
                text.Sample(prefix, "request_success_total", model.Labels, Finished[i], model.Metrics.Finished((FinishedReason)i));
        }

        Distribution(text, prefix, "time_to_first_token_seconds", "From arrival to the first token.", models, static m => m.TimeToFirstToken);
        Distribution(text, prefix, "inter_token_latency_seconds", "Between two tokens of a choice.", models, static m => m.InterTokenLatency);
        Distribution(text, prefix, "request_time_per_output_token_seconds", "Mean of a request between two tokens.", models, static m => m.TimePerOutputToken);
        Distribution(text, prefix, "e2e_request_latency_seconds", "From arrival to the last token.", models, static m => m.EndToEnd);
        Distribution(text, prefix, "request_queue_time_seconds", "From arrival to the first step.", models, static m => m.QueueTime);
        Distribution(text, prefix, "request_prefill_time_seconds", "From the first step to the first token.", models, static m => m.PrefillTime);
        Distribution(text, prefix, "request_decode_time_seconds", "From the first token to the last.", models, static m => m.DecodeTime);
        Distribution(text, prefix, "request_inference_time_seconds", "From the first step to the last token.", models, static m => m.InferenceTime);
    }

    private void WriteOwn(PrometheusText text, ReadOnlySpan<Snapshot> models)
    {
        text.Family(Prefix, "build_info", "gauge", "What this build is.");
        text.Sample(Prefix, "build_info", Build, 1);
        WritePolicies(text, models);
        Gauge(text, Prefix, "kv_blocks_cached", "Unowned blocks that still hold a reusable prefix.", models, static m => m.Now.BlocksCached);
        Gauge(text, Prefix, "kv_pool_fragmentation", "Share of the slots in held blocks that no token takes, 0 to 1.",
            models, static m => m.Metrics.Model.Engine.PoolFragmentation);
        Distribution(text, Prefix, "engine_step_seconds", "Time of the engine's steps.", models, static m => m.Model.Engine.StepSeconds);
        Distribution(text, Prefix, "engine_step_host_seconds", "Of this, outside model and sampler: scheduling, packing, compressing, retiring.",
            models, static m => m.Model.Engine.StepHostSeconds);
        Counter(text, Prefix, "step_retries_total", "Steps that the device refused, and that were taken again, smaller.",
            models, static m => m.Metrics.Model.Engine.RefusedSteps);
        Gauge(text, Prefix, "engine_circuit_open", "1 while the device refuses every step and is left alone, else 0.",
            models, static m => m.Metrics.Model.Engine.OpenFor is null ? 0 : 1);
        Total(text, "engine_restarts_total", "Engines replaced by a new one while the process went on.", 0);

        text.Family(Prefix, "requests_rejected_total", "counter", "Requests turned away, by reason.");
        for (int i = 0; i < Rejected.Length; i++)
            text.Sample(Prefix, "requests_rejected_total", Rejected[i], metrics.Count((RejectionReason)i));
        PerKey(text, "key_requests_total", "counter", "Requests of a named key that were taken and have ended.", static account => account.Ended);
        PerKey(text, "key_tokens_total", "counter", "Tokens of their prompts and answers.", static account => account.TokensUsed);
        PerKey(text, "key_requests_limited_total", "counter", "Requests of a named key that its own limits turned away.", static account => account.Refused);
        PerKey(text, "key_requests_running", "gauge", "Requests of a named key under way, waiting and running.", static account => account.UnderWay);
        text.Family(Prefix, "client_disconnects_total", "counter", "Clients that went away before their answer was complete.");
        for (int i = 0; i < Disconnected.Length; i++)
            text.Sample(Prefix, "client_disconnects_total", Disconnected[i], metrics.Count((DisconnectPhase)i));
        Total(text, "tool_parse_failures_total", "Tool calls in a model's output that could not be read.", 0);
        text.Family(Prefix, "grammar_compile_seconds", "histogram", "Time to compile a grammar.");
        text.Histogram(Prefix, "grammar_compile_seconds", "", NoGrammars);
    }

    // Policies are those that the model can serve, so the registry bounds the labels.
    private static void WritePolicies(PrometheusText text, ReadOnlySpan<Snapshot> models)
    {
        text.Family(Prefix, "kv_compression_ratio", "gauge", "How many times less ended requests held in the KV cache than all of their tokens would have taken.");
        foreach (Snapshot model in models)
        {
            foreach (PolicyMetrics policy in model.Metrics.Policies)
                text.Sample(Prefix, "kv_compression_ratio", policy.Labels, policy.CompressionRatio);
        }

        text.Family(Prefix, "kv_bytes", "gauge", "Bytes of KV blocks that sequences hold, on the device or swapped out; a block that several share counts for each.");
        foreach (Snapshot model in models)
        {
            foreach (PolicyMetrics policy in model.Metrics.Policies)
            {
                text.Sample(Prefix, "kv_bytes", policy.Labels, Tiers[0], policy.DeviceBytes);
                text.Sample(Prefix, "kv_bytes", policy.Labels, Tiers[1], policy.HostBytes);
            }
        }

        text.Family(Prefix, "kv_evicted_tokens_total", "counter", "Tokens that the policy dropped while their request went on, mean over the lanes.");
        foreach (Snapshot model in models)
        {
            foreach (PolicyMetrics policy in model.Metrics.Policies)
                text.Sample(Prefix, "kv_evicted_tokens_total", policy.Labels, policy.EvictedTokens);
        }

        text.Family(Prefix, "kv_policy_requests_total", "counter", "Requests accepted, by KV policy.");
        foreach (Snapshot model in models)
        {
            foreach (PolicyMetrics policy in model.Metrics.Policies)
                text.Sample(Prefix, "kv_policy_requests_total", policy.Labels, policy.Requests);
        }
    }

    private void WriteHttp(PrometheusText text)
    {
        text.Family("", "http_requests_total", "counter", "HTTP requests by route, method and status.");
        foreach (HttpMetrics.Count count in http.Requests)
            text.Sample("", "http_requests_total", count.Labels, count.Value);
        text.Family("", "http_request_duration_seconds", "histogram", "Time until the last byte of the answer.");
        foreach (HttpMetrics.Duration duration in http.Durations)
            text.Histogram("", "http_request_duration_seconds", duration.Labels, duration.Seconds);
    }

    private static void Distribution(
        PrometheusText text, string prefix, string name, string help, ReadOnlySpan<Snapshot> models, Func<ModelMetrics, Histogram> pick)
    {
        text.Family(prefix, name, "histogram", help);
        foreach (Snapshot model in models)
            text.Histogram(prefix, name, model.Labels, pick(model.Metrics));
    }

    private static void Gauge(PrometheusText text, string prefix, string name, string help, ReadOnlySpan<Snapshot> models, Func<Snapshot, double> value) =>
        Each(text, prefix, name, "gauge", help, models, value);

    private static void Counter(PrometheusText text, string prefix, string name, string help, ReadOnlySpan<Snapshot> models, Func<Snapshot, double> value) =>
        Each(text, prefix, name, "counter", help, models, value);

    private static void Each(
        PrometheusText text, string prefix, string name, string type, string help, ReadOnlySpan<Snapshot> models, Func<Snapshot, double> value)
    {
        text.Family(prefix, name, type, help);
        foreach (Snapshot model in models)
            text.Sample(prefix, name, model.Labels, value(model));
    }

    private void PerKey(PrometheusText text, string name, string type, string help, Func<KeyAccount, double> value)
    {
        text.Family(Prefix, name, type, help);
        foreach ((string labels, KeyAccount account) in _keys)
            text.Sample(Prefix, name, labels, value(account));
    }

    private static void Total(PrometheusText text, string name, string help, long value)
    {
        text.Family(Prefix, name, "counter", help);
        text.Sample(Prefix, name, "", value);
    }

    private static string[] LabelsOf(string name, string[] values) => Array.ConvertAll(values, value => PrometheusText.Label(name, value));

    // One model's counters of one moment.
    private readonly record struct Snapshot(ModelMetrics Metrics, EngineStatistics Now)
    {
        public string Labels => Metrics.Labels;

        public double Usage => Now.BlocksTotal == 0 ? 0 : Now.BlocksUsed / (double)Now.BlocksTotal;
    }
}
