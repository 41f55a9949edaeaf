using System.Globalization;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Telemetry.Otlp;

/// <summary>Which signals leave by OTLP, and what the OpenTelemetry SDK is told: our settings over the standard <c>OTEL_*</c> variables.</summary>
/// <remarks>
/// Nothing leaves unless an endpoint is named or a variable asks for the exporter. The SDK reads the same keys from the host's
/// configuration, so that every variable of the specification works: https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
/// </remarks>
/// <param name="Traces">Spans leave.</param>
/// <param name="Metrics">Metrics leave.</param>
/// <param name="Logs">Log records leave.</param>
/// <param name="Sdk">Keys for the SDK.</param>
internal sealed record OtlpSettings(bool Traces, bool Metrics, bool Logs, IReadOnlyDictionary<string, string?> Sdk)
{
    private const string Prefix = "OTEL_";
    private const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    private const string Protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
    private const string ServiceName = "OTEL_SERVICE_NAME";
    private const string Resource = "OTEL_RESOURCE_ATTRIBUTES";
    private const string Retry = "OTEL_DOTNET_EXPERIMENTAL_OTLP_RETRY";
    private const int GrpcPort = 4317;

    /// <summary>Something leaves.</summary>
    public bool Any => Traces || Metrics || Logs;

    /// <summary>From both sources.</summary>
    public static OtlpSettings From(TelemetryOptions options, ProcessEnvironment environment)
    {
        var sdk = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach ((string name, string value) in environment.Variables)
        {
            if (name.StartsWith(Prefix, StringComparison.Ordinal) && value.Length > 0)
                sdk[name] = value;
        }

        OtlpOptions otlp = options.Otlp;
        Set(sdk, Endpoint, otlp.Endpoint);
        Set(sdk, Protocol, otlp.Protocol);
        Set(sdk, "OTEL_EXPORTER_OTLP_HEADERS", otlp.Headers);
        Set(sdk, ServiceName, options.ServiceName);
        if (otlp.MetricInterval is { } interval)
            sdk["OTEL_METRIC_EXPORT_INTERVAL"] = ((long)interval.TotalMilliseconds).ToString(CultureInfo.InvariantCulture);
        if (otlp.SampleRatio is { } ratio)
            (sdk["OTEL_TRACES_SAMPLER"], sdk["OTEL_TRACES_SAMPLER_ARG"]) = ("parentbased_traceidratio", ratio.ToString(CultureInfo.InvariantCulture));
        SetDefaults(sdk);
        bool disabled = bool.TryParse(sdk.GetValueOrDefault("OTEL_SDK_DISABLED"), out bool off) && off;
        bool Leaves(bool wanted, string signal) => !disabled && wanted && IsConfigured(sdk, signal);
        return new OtlpSettings(Leaves(otlp.Traces, "TRACES"), Leaves(otlp.Metrics, "METRICS"), Leaves(otlp.Logs, "LOGS"), sdk);
    }

    /// <summary>Adds a line for each setting of ours that cannot work, and for each standard variable that is ignored.</summary>
    public static void Check(TelemetryOptions options, ProcessEnvironment environment, List<string> problems, List<string> warnings, Func<string, string> spell)
    {
        if (options.Otlp.Endpoint is { } endpoint && !IsEndpoint(endpoint))
            problems.Add($"{spell("Telemetry:Otlp:Endpoint")}: \"{endpoint}\" is not an address such as http://collector:4317");
        else if (options.Otlp.Endpoint is { } named && new Uri(named).UserInfo.Length > 0)
            problems.Add($"{spell("Telemetry:Otlp:Endpoint")}: the address holds a user or password, which would be shown and not be sent; use Telemetry:Otlp:Headers");
        foreach ((string name, string value) in environment.Variables.OrderBy(variable => variable.Key, StringComparer.Ordinal))
        {
            if (!name.StartsWith(Prefix, StringComparison.Ordinal) || value.Length == 0)
                continue;
            if (name.StartsWith("OTEL_EXPORTER_OTLP_", StringComparison.Ordinal) && name.EndsWith("_ENDPOINT", StringComparison.Ordinal) && !IsEndpoint(value))
                warnings.Add($"{name} is not an address such as http://collector:4317 and has no effect.");
            else if (name.EndsWith("_PROTOCOL", StringComparison.Ordinal) && value is not ("grpc" or "http/protobuf"))
                warnings.Add($"{name} is neither grpc nor http/protobuf and has no effect.");
            else if (name is "OTEL_TRACES_EXPORTER" or "OTEL_METRICS_EXPORTER" or "OTEL_LOGS_EXPORTER" && value is not ("otlp" or "none"))
                warnings.Add($"{name} is neither otlp nor none: nothing of this kind is exported.");
        }
    }

    private static void SetDefaults(Dictionary<string, string?> sdk)
    {
        // The specification wants HTTP; 4317 is the port registered for gRPC, and both are what a reader of the address expects.
        if (!sdk.ContainsKey(Protocol))
            sdk[Protocol] = Uri.TryCreate(sdk.GetValueOrDefault(Endpoint), UriKind.Absolute, out Uri? uri) && uri.Port == GrpcPort ? "grpc" : "http/protobuf";
        if (!sdk.ContainsKey(ServiceName) && !NamesResource(sdk, "service.name"))
            sdk[ServiceName] = "inference-service";
        sdk.TryAdd(Retry, "in_memory");
    }

    /// <summary>The user named this attribute of the resource.</summary>
    public static bool NamesResource(IReadOnlyDictionary<string, string?> sdk, string attribute) =>
        (sdk.GetValueOrDefault(Resource) ?? "").Split(',').Any(pair => pair.Split('=')[0].Trim() == attribute);

    private static bool IsConfigured(Dictionary<string, string?> sdk, string signal) => sdk.GetValueOrDefault($"OTEL_{signal}_EXPORTER") switch
    {
        "otlp" => true,
        null => IsEndpoint(sdk.GetValueOrDefault(Endpoint)) || IsEndpoint(sdk.GetValueOrDefault($"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")),
        _ => false,
    };

    private static bool IsEndpoint(string? text) => Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https";

    private static void Set(Dictionary<string, string?> sdk, string key, string? value)
    {
        if (value is not null)
            sdk[key] = value;
    }
}
