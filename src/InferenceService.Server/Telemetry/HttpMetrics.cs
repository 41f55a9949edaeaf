using System.Collections.Concurrent;
using System.Globalization;
using InferenceService.Engine;

namespace InferenceService.Server.Telemetry;

/// <summary>Requests by route, method and status. Labels come from the route table, never from the request's text. Lock-free but for new series.</summary>
internal sealed class HttpMetrics
{
    private static readonly string[] Methods = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"];
    private readonly ConcurrentDictionary<(string Handler, string Method, int Status), Count> _requests = new();
    private readonly ConcurrentDictionary<(string Handler, string Method), Duration> _durations = new();
    private readonly Lock _adding = new();
    private volatile Count[] _requestList = [];
    private volatile Duration[] _durationList = [];

    /// <summary>Requests seen, by handler, method and status.</summary>
    public ReadOnlySpan<Count> Requests => _requestList;

    /// <summary>Seconds until the last byte, by handler and method.</summary>
    public ReadOnlySpan<Duration> Durations => _durationList;

    /// <summary>One request has ended.</summary>
    public void Observe(string handler, string method, int status, double seconds)
    {
        string known = Known(method);
        if (!_requests.TryGetValue((handler, known, status), out Count? count))
            count = Add(handler, known, status);
        count.Increment();
        if (!_durations.TryGetValue((handler, known), out Duration? duration))
            duration = Add(handler, known);
        duration.Seconds.Observe(seconds);
    }

    /// <summary>The method, or OTHER for one that no route has.</summary>
    public static string Known(string method)
    {
        foreach (string known in Methods)
        {
            if (known.Equals(method, StringComparison.OrdinalIgnoreCase))
                return known;
        }

        return "OTHER";
    }

    private Count Add(string handler, string method, int status)
    {
        lock (_adding)
        {
            if (_requests.TryGetValue((handler, method, status), out Count? known))
                return known;
            var added = new Count($"{Labels(handler, method)},{PrometheusText.Label("status", status.ToString(CultureInfo.InvariantCulture))}");
            _requests[(handler, method, status)] = added;
            _requestList = [.. _requestList, added];
            return added;
        }
    }

    private Duration Add(string handler, string method)
    {
        lock (_adding)
        {
            if (_durations.TryGetValue((handler, method), out Duration? known))
                return known;
            var added = new Duration(Labels(handler, method));
            _durations[(handler, method)] = added;
            _durationList = [.. _durationList, added];
            return added;
        }
    }

    private static string Labels(string handler, string method) => $"{PrometheusText.Label("handler", handler)},{PrometheusText.Label("method", method)}";

    /// <summary>One series of <c>http_requests_total</c>.</summary>
    internal sealed class Count(string labels)
    {
        private long _value;

        /// <summary>Rendered labels.</summary>
        public string Labels { get; } = labels;

        /// <summary>Requests so far.</summary>
        public long Value => Interlocked.Read(ref _value);

        /// <summary>One more.</summary>
        public void Increment() => Interlocked.Increment(ref _value);
    }

    /// <summary>One series of <c>http_request_duration_seconds</c>.</summary>
    internal sealed class Duration(string labels)
    {
        /// <summary>Rendered labels.</summary>
        public string Labels { get; } = labels;

        /// <summary>Its observations.</summary>
        public Histogram Seconds { get; } = new(Buckets.Http);
    }
}
