using InferenceService.Engine;

namespace InferenceService.Server.Telemetry;

/// <summary>Series of one KV policy of one model, without the warm-up. Any thread.</summary>
internal sealed class PolicyMetrics
{
    private readonly KvPolicyCounters _counters;
    private readonly (long Requests, long Evicted, long Bytes, long BytesFull) _before;

    /// <summary>Counts from now on.</summary>
    /// <param name="counters">The engine's.</param>
    /// <param name="model">Labels of the model.</param>
    public PolicyMetrics(KvPolicyCounters counters, string model)
    {
        _counters = counters;
        _before = (counters.Requests, counters.EvictedTokens, counters.Bytes, counters.BytesFull);
        Labels = $"{model},{PrometheusText.Label("policy", counters.Name)}";
    }

    /// <summary>Labels of every series; <c>kv_bytes</c> has one more.</summary>
    public string Labels { get; }

    public long Requests => _counters.Requests - _before.Requests;

    public long EvictedTokens => _counters.EvictedTokens - _before.Evicted;

    public long DeviceBytes => _counters.DeviceBytes;

    public long HostBytes => _counters.HostBytes;

    /// <summary>1 before the first request ended.</summary>
    public double CompressionRatio => _counters.Bytes == _before.Bytes ? 1 : (_counters.BytesFull - _before.BytesFull) / (double)(_counters.Bytes - _before.Bytes);
}
