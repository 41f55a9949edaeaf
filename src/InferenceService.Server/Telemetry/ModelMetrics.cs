using System.Globalization;
using InferenceService.Engine;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Telemetry;

/// <summary>How a choice ended, as <c>request_success_total</c> names it.</summary>
internal enum FinishedReason
{
    /// <summary>EOS, stop id or stop string.</summary>
    Stop,

    /// <summary>Token or context limit.</summary>
    Length,

    /// <summary>Cancelled, usually because the client went away.</summary>
    Abort,

    /// <summary>Failed.</summary>
    Error,
}

/// <summary>What is known of a request when its last choice has ended.</summary>
/// <param name="Times">When it passed each stage.</param>
/// <param name="PromptTokens">Prompt length.</param>
/// <param name="CachedTokens">Of these, from the prefix cache.</param>
/// <param name="LongestChoice">Tokens of the longest choice.</param>
/// <param name="MaxTokens">Limit of the request.</param>
/// <param name="Choices">n.</param>
internal readonly record struct FinishedRequest(RequestTimes Times, int PromptTokens, int CachedTokens, int LongestChoice, int MaxTokens, int Choices);

/// <summary>Series of one model that the routes feed. Lock-free; any thread.</summary>
internal sealed class ModelMetrics(ServedModel model, TimeProvider time)
{
    private readonly long[] _finished = new long[Enum.GetValues<FinishedReason>().Length];

    /// <summary>The model.</summary>
    public ServedModel Model { get; } = model;

    /// <summary>Labels that every series of the model carries.</summary>
    public string Labels { get; } = LabelsOf(model);

    /// <summary>Series of the KV policies that the model can serve.</summary>
    public PolicyMetrics[] Policies { get; } = PoliciesOf(model);

    /// <summary>Labels of <c>cache_config_info</c> besides <see cref="Labels"/>.</summary>
    public string CacheLabels { get; } = CacheLabelsOf(model);

    /// <summary>What the engine had counted when the model became ready.</summary>
    public EngineStatistics Baseline { get; } = model.Engine.Statistics;

    /// <summary>What the engine has counted since: the warm-up is not traffic.</summary>
    public EngineStatistics Now
    {
        get
        {
            EngineStatistics now = Model.Engine.Statistics;
            return now with
            {
                Preemptions = now.Preemptions - Baseline.Preemptions,
                PromptTokens = now.PromptTokens - Baseline.PromptTokens,
                GeneratedTokens = now.GeneratedTokens - Baseline.GeneratedTokens,
                PrefixQueryTokens = now.PrefixQueryTokens - Baseline.PrefixQueryTokens,
                PrefixHitTokens = now.PrefixHitTokens - Baseline.PrefixHitTokens,
            };
        }
    }

    /// <summary>How fast the engine's queue empties.</summary>
    public QueueDrain Drain { get; } = new(model.Engine, time);

    public Histogram TimeToFirstToken { get; } = new(Buckets.FirstToken);

    public Histogram InterTokenLatency { get; } = new(Buckets.TokenGap);

    public Histogram TimePerOutputToken { get; } = new(Buckets.TokenGap);

    public Histogram EndToEnd { get; } = new(Buckets.Request);

    public Histogram QueueTime { get; } = new(Buckets.Request);

    public Histogram PrefillTime { get; } = new(Buckets.Request);

    public Histogram DecodeTime { get; } = new(Buckets.Request);

    public Histogram InferenceTime { get; } = new(Buckets.Request);

    public Histogram PromptTokens { get; } = new(Buckets.Tokens(model.MaxModelLength));

    public Histogram GenerationTokens { get; } = new(Buckets.Tokens(model.MaxModelLength));

    public Histogram MaxGenerationTokens { get; } = new(Buckets.Tokens(model.MaxModelLength));

    public Histogram ParamsMaxTokens { get; } = new(Buckets.Tokens(model.MaxModelLength));

    public Histogram PrefillComputed { get; } = new(Buckets.Tokens(model.MaxModelLength));

    public Histogram ParamsN { get; } = new(Buckets.Choices);

    /// <summary>Choices that ended so.</summary>
    public long Finished(FinishedReason reason) => Interlocked.Read(ref _finished[(int)reason]);

    /// <summary>The first token of a request is there: its wait since arrival.</summary>
    public void FirstToken(in RequestTimes times) => TimeToFirstToken.Observe(Seconds(times.Arrived, times.FirstToken));

    /// <summary>Seconds between two tokens of one choice.</summary>
    public void TokenGap(double seconds) => InterTokenLatency.Observe(seconds);

    /// <summary>One choice has ended.</summary>
    public void ChoiceFinished(FinishedReason reason, int generatedTokens)
    {
        Interlocked.Increment(ref _finished[(int)reason]);
        GenerationTokens.Observe(generatedTokens);
    }

    /// <summary>All choices of a request have ended. Stages that it never reached are not observed.</summary>
    public void RequestFinished(in FinishedRequest request)
    {
        RequestTimes times = request.Times;
        PromptTokens.Observe(request.PromptTokens);
        PrefillComputed.Observe(request.PromptTokens - request.CachedTokens);
        MaxGenerationTokens.Observe(request.LongestChoice);
        ParamsMaxTokens.Observe(request.MaxTokens);
        ParamsN.Observe(request.Choices);
        QueueTime.Observe(Seconds(times.Arrived, times.Scheduled));
        PrefillTime.Observe(Seconds(times.Scheduled, times.FirstToken));
        double decode = Seconds(times.FirstToken, times.LastToken);
        DecodeTime.Observe(decode);
        InferenceTime.Observe(Seconds(times.Scheduled, times.LastToken));
        EndToEnd.Observe(Seconds(times.Arrived, times.LastToken));
        if (request.LongestChoice > 1)
            TimePerOutputToken.Observe(decode / (request.LongestChoice - 1));
    }

    private static PolicyMetrics[] PoliciesOf(ServedModel model)
    {
        string labels = LabelsOf(model);
        IEnumerable<KvPolicyCounters> served = model.Engine.KvPolicies.Where(counters => model.Policies.Names.Contains(counters.Name));
        return [.. served.OrderBy(counters => counters.Name, StringComparer.Ordinal).Select(counters => new PolicyMetrics(counters, labels))];
    }

    private static string CacheLabelsOf(ServedModel model)
    {
        EngineOptions options = model.Engine.Options;
        string blocks = model.Engine.Statistics.BlocksTotal.ToString(CultureInfo.InvariantCulture);
        return string.Join(
            ',',
            PrometheusText.Label("block_size", options.BlockSize.ToString(CultureInfo.InvariantCulture)),
            PrometheusText.Label("num_gpu_blocks", blocks),
            PrometheusText.Label("num_cpu_blocks", blocks),
            PrometheusText.Label("cache_dtype", options.KvPackedBits == 0 ? ModelPlan.Name(options.KvType) : $"int{options.KvPackedBits}"),
            PrometheusText.Label("device", model.Device),
            PrometheusText.Label("enable_prefix_caching", options.PrefixCaching ? "True" : "False"));
    }

    private static string LabelsOf(ServedModel model) => $"{PrometheusText.Label("model_name", model.Names[0])},{PrometheusText.Label("engine", "0")}";

    private double Seconds(long from, long to) => from == 0 || to == 0 ? double.NaN : time.GetElapsedTime(from, to).TotalSeconds;
}
