using System.Collections.Concurrent;
using InferenceService.Engine;

namespace InferenceService.Server.Telemetry;

/// <summary>Requests by route, method and status. Labels come from the route table, never from the request's text.</summary>
internal sealed class HttpMetrics
{
    private static readonly string[] Methods = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"];
    private readonly ConcurrentDictionary<(string Handler, string Method, int Status), Counter> _requests = new();
    private readonly ConcurrentDictionary<(string Handler, string Method), Histogram> _durations = new();

    /// <summary>Requests seen, by handler, method and status.</summary>
    public IEnumerable<KeyValuePair<(string Handler, string Method, int Status), long>> Requests =>
        _requests.Select(entry => KeyValuePair.Create(entry.Key, entry.Value.Value));

    /// <summary>Seconds until the last byte, by handler and method.</summary>
    public IEnumerable<KeyValuePair<(string Handler, string Method), Histogram>> Durations => _durations;

    /// <summary>One request has ended.</summary>
    public void Observe(string handler, string method, int status, double seconds)
    {
        string known = Array.Find(Methods, m => m.Equals(method, StringComparison.OrdinalIgnoreCase)) ?? "OTHER";
        _requests.GetOrAdd((handler, known, status), static _ => new Counter()).Increment();
        _durations.GetOrAdd((handler, known), static _ => new Histogram(Buckets.Http)).Observe(seconds);
    }

    /// <summary>Labels of a series.</summary>
    public static string Labels(string handler, string method) => $"{PrometheusText.Label("handler", handler)},{PrometheusText.Label("method", method)}";

    private sealed class Counter
    {
        private long _value;

        public long Value => Interlocked.Read(ref _value);

        public void Increment() => Interlocked.Increment(ref _value);
    }
}
