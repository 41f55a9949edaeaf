using System.ComponentModel.DataAnnotations;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Limits</c>: what one request may ask for.</summary>
public sealed record LimitOptions
{
    /// <summary>Most alternatives per position in log-probabilities. Range 0–1000, default 20.</summary>
    [Range(0, 1000)]
    public int MaxLogprobs { get; init; } = 20;

    /// <summary>Most choices (n). Range 1–128, default 64.</summary>
    [Range(1, 128)]
    public int MaxN { get; init; } = 64;

    /// <summary>Most stop strings. Range 0–1024, default 16.</summary>
    [Range(0, 1024)]
    public int MaxStopStrings { get; init; } = 16;

    /// <summary>Longest stop string in characters. Range 1–65536, default 256.</summary>
    [Range(1, 65_536)]
    public int MaxStopStringLength { get; init; } = 256;

    /// <summary>Most prompts of one completions request. Range 1–4096, default 64.</summary>
    [Range(1, 4096)]
    public int MaxPrompts { get; init; } = 64;

    /// <summary>Most entries of logit_bias. Range 0–65536, default 1024.</summary>
    [Range(0, 65_536)]
    public int MaxLogitBias { get; init; } = 1024;

    /// <summary>Most bad_words. Range 0–4096, default 128.</summary>
    [Range(0, 4096)]
    public int MaxBadWords { get; init; } = 128;

    /// <summary>Largest request body in bytes. Range 1024–1 GiB, default 32 MiB.</summary>
    [Range(1024L, 1L << 30)]
    public long MaxRequestBytes { get; init; } = 32L << 20;

    /// <summary>
    /// Bytes that all request bodies together may take while they are read and parsed; 64 KiB of each do not count, and a larger body is taken while it is
    /// alone. Beyond it large bodies are refused as overload. Range 1 MiB–64 GiB, default 128 MiB.
    /// </summary>
    [Range(1L << 20, 64L << 30)]
    public long MaxPendingRequestBytes { get; init; } = 128L << 20;

    /// <summary>Most open connections; further ones are closed at once. Range 1–1,000,000, default 10,000.</summary>
    [Range(1, 1_000_000)]
    public int MaxConnections { get; init; } = 10_000;

    /// <summary>Unknown request fields are a 400 instead of being ignored. Default false.</summary>
    public bool StrictRequests { get; init; }

    /// <summary>Requests may bring their own chat template (a template is a program). Default false.</summary>
    public bool TrustRequestChatTemplate { get; init; }

    /// <summary>Where log-probabilities are read: raw logits, or after all processing. Default false.</summary>
    public bool ProcessedLogprobs { get; init; }
}

/// <summary>Section <c>Streaming</c>.</summary>
public sealed record StreamingOptions
{
    /// <summary>Tokens per event after the first; a request may override it. Range 1–1024, default 1.</summary>
    [Range(1, 1024)]
    public int StreamInterval { get; init; } = 1;

    /// <summary>Silence after which a comment line is sent; zero or less = never. Default 15 s.</summary>
    [Seconds(-1, 3600)]
    public TimeSpan SseHeartbeat { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Wait for the first token after which headers go out anyway. Default 10 s.</summary>
    [Seconds(0, 3600)]
    public TimeSpan EarlyHeaders { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A client that takes nothing for so long is disconnected. Default 60 s.</summary>
    [Seconds(1, 86_400)]
    public TimeSpan SlowClientTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Send <c>[DONE]</c> after an error event, as some servers do. Default false: the connection is aborted.</summary>
    public bool DoneAfterError { get; init; }

    /// <summary>Streams always end with a usage chunk. Default false.</summary>
    public bool ForceIncludeUsage { get; init; }
}

/// <summary>Section <c>Admission</c>: what the server takes before it refuses.</summary>
public sealed record AdmissionOptions
{
    /// <summary>Most waiting choices. Range 1–1,000,000, default 1024.</summary>
    [Range(1, 1_000_000)]
    public int MaxQueuedRequests { get; init; } = 1024;

    /// <summary>Most waiting prompt tokens. Range 1–1,000,000,000, default 1,000,000.</summary>
    [Range(1, 1_000_000_000)]
    public int MaxQueuedTokens { get; init; } = 1_000_000;

    /// <summary>Longest wait for admission. Default 60 s.</summary>
    [Seconds(0.001, 86_400)]
    public TimeSpan MaxQueueWait { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Longest that a request may take from its arrival, upload, waiting and running; one that is late already when its body has come ends then. A request's own limit may be shorter. Zero = no limit. Default 0.</summary>
    [Seconds(0, 604_800)]
    public TimeSpan RequestTimeout { get; init; }

    /// <summary>Status of server-wide overload: 503, 429 or 529. Default 503.</summary>
    [AllowedValues(503, 429, 529)]
    public int OverloadStatusCode { get; init; } = 503;

    /// <summary>Least advertised retry delay in seconds; longer where the queue is known to need longer, at most 60. Range 1–60, default 2.</summary>
    [Range(1, 60)]
    public int RetryAfterSeconds { get; init; } = 2;
}
