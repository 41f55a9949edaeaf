using System.ComponentModel.DataAnnotations;
using System.Globalization;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Server</c>: where and how HTTP is spoken.</summary>
internal sealed record HttpOptions
{
    /// <summary><see cref="AdminPort"/>: no admin routes.</summary>
    internal const string NoPort = "none";

    private const int DefaultAdminPort = 9000;

    /// <summary>Addresses to listen on, for example <c>http://0.0.0.0:8000</c>; replaces host and port.</summary>
    public IReadOnlyList<string> Urls { get; init; } = [];

    /// <summary>Address or name to bind. Default 127.0.0.1, in containers 0.0.0.0.</summary>
    public string? Host { get; init; }

    /// <summary>Port; 0 lets the system choose. Range 0–65535, default 8000.</summary>
    [Range(0, 65535)]
    public int Port { get; init; } = 8000;

    /// <summary>Further port that speaks HTTP/2 without TLS (prior knowledge), for gateways. Range 0–65535; default none.</summary>
    [Range(0, 65535)]
    public int? H2cPort { get; init; }

    /// <summary>Path of a Unix domain socket to listen on instead of a port.</summary>
    public string? UnixSocket { get; init; }

    /// <summary>Port of the admin routes; 0 lets the system choose, none = there are no admin routes. Default 9000; where that is taken, a warning and no admin routes.</summary>
    public string? AdminPort { get; init; }

    /// <summary><see cref="AdminPort"/> as a number; null = none.</summary>
    internal int? AdminPortNumber => AdminPort == NoPort ? null : int.TryParse(AdminPort, NumberStyles.None, CultureInfo.InvariantCulture, out int port) ? port : DefaultAdminPort;

    /// <summary>Address to bind for the admin routes; one that other machines reach needs a key. Default 127.0.0.1, in containers too.</summary>
    public string AdminHost { get; init; } = "127.0.0.1";

    /// <summary>
    /// Names that a <c>Host</c> header may hold besides addresses, localhost, *.local, *.internal and this machine's; * = any. Only asked on a loopback
    /// address without keys, which a web page could otherwise reach under a name of its own. Default none.
    /// </summary>
    public IReadOnlyList<string> AllowedHosts { get; init; } = [];

    /// <summary>Certificate and key in PEM form; both or none.</summary>
    public TlsOptions Tls { get; init; } = new();

    /// <summary>Path under which a proxy publishes this server, for example <c>/llm</c>.</summary>
    public string? PathBase { get; init; }

    /// <summary>After SIGTERM, new work is still taken for so long, until load balancers have noticed. Range 0–10 min, default 5 s.</summary>
    [Seconds(0, 600)]
    public TimeSpan DrainDelay { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Running work may take so long to finish after that. Range 0–24 h, default 60 s.</summary>
    [Seconds(0, 86_400)]
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Interactive documentation at /swagger. Default: only in the Development environment.</summary>
    public bool? SwaggerUi { get; init; }

    /// <summary>An address of <see cref="Urls"/> with the usual signs for "every interface" written out.</summary>
    public static string Explicit(string url) =>
        url.Replace("//*", "//0.0.0.0", StringComparison.Ordinal).Replace("//+", "//0.0.0.0", StringComparison.Ordinal);
}

/// <summary>Section <c>Server:Tls</c>.</summary>
internal sealed record TlsOptions
{
    /// <summary>PEM file with the certificate chain.</summary>
    public string? CertFile { get; init; }

    /// <summary>PEM file with the private key.</summary>
    public string? KeyFile { get; init; }
}

/// <summary>Section <c>Cors</c>; off unless an origin is listed.</summary>
internal sealed record CorsOptions
{
    /// <summary>Origins whose pages may call this server, for example <c>https://chat.example.org</c>.</summary>
    public IReadOnlyList<string> Origins { get; init; } = [];
}

/// <summary>Section <c>Telemetry</c>.</summary>
internal sealed record TelemetryOptions
{
    /// <summary>Every series also appears under vLLM's name, for existing dashboards and scalers. Default true.</summary>
    public bool VllmCompatibleMetrics { get; init; } = true;

    /// <summary>service.name of everything exported. Default OTEL_SERVICE_NAME, then inference-service.</summary>
    public string? ServiceName { get; init; }

    /// <summary>Export of traces, metrics and logs.</summary>
    public OtlpOptions Otlp { get; init; } = new();
}

/// <summary>Section <c>Telemetry:Otlp</c>; each setting wins over the standard variable that is named.</summary>
internal sealed record OtlpOptions
{
    /// <summary>Collector, for example <c>http://collector:4317</c>. Default OTEL_EXPORTER_OTLP_ENDPOINT; without both nothing is exported.</summary>
    public string? Endpoint { get; init; }

    /// <summary>grpc or http/protobuf. Default OTEL_EXPORTER_OTLP_PROTOCOL, then grpc for port 4317, http/protobuf for any other.</summary>
    [OneOf("grpc", "http/protobuf")]
    public string? Protocol { get; init; }

    /// <summary>Headers of every export, <c>key=value,key=value</c>. Default OTEL_EXPORTER_OTLP_HEADERS.</summary>
    [Secret]
    public string? Headers { get; init; }

    /// <summary>Export spans. Default true.</summary>
    public bool Traces { get; init; } = true;

    /// <summary>Export metrics. Default true.</summary>
    public bool Metrics { get; init; } = true;

    /// <summary>Export log records. Default true.</summary>
    public bool Logs { get; init; } = true;

    /// <summary>Time between two exports of metrics. Range 1 s–1 h; default OTEL_METRIC_EXPORT_INTERVAL, then 60 s.</summary>
    [Seconds(1, 3600)]
    public TimeSpan? MetricInterval { get; init; }

    /// <summary>Share of traces begun here that are exported; those begun elsewhere follow their caller. Range 0–1; default OTEL_TRACES_SAMPLER, then all.</summary>
    [Range(0.0, 1.0)]
    public double? SampleRatio { get; init; }
}

/// <summary>Our keys of section <c>Logging</c>; the framework's own stand beside them.</summary>
internal sealed record LoggingOptions
{
    /// <summary>One line a request: method, route, status, milliseconds, id. Never content. Default false.</summary>
    public bool Requests { get; init; }
}
