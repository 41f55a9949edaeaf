using InferenceService.Server.Configuration;
using InferenceService.Server.Telemetry.Otlp;

namespace InferenceService.Server.Tests.Telemetry.Otlp;

public sealed class OtlpSettingsTests
{
    [Theory]
    [InlineData("", false, false, false)]
    [InlineData("OTEL_SERVICE_NAME=x", false, false, false)]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", true, true, true)]
    [InlineData("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces", true, false, false)]
    [InlineData("OTEL_METRICS_EXPORTER=otlp", false, true, false)]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_LOGS_EXPORTER=none", true, true, false)]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_LOGS_EXPORTER=console", true, true, false)]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_SDK_DISABLED=true", false, false, false)]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=collector", false, false, false)]
    public void Standard_variables_decide_what_leaves(string variables, bool traces, bool metrics, bool logs)
    {
        OtlpSettings settings = OtlpSettings.From(new TelemetryOptions(), Environment(variables));
        Assert.Equal((traces, metrics, logs), (settings.Traces, settings.Metrics, settings.Logs));
        Assert.Equal(traces || metrics || logs, settings.Any);
    }

    [Fact]
    public void Our_settings_win_over_the_variables()
    {
        var options = new TelemetryOptions
        {
            ServiceName = "ours",
            Otlp = new OtlpOptions
            {
                Endpoint = "http://ours:4318",
                Protocol = "grpc",
                Headers = "a=b",
                Logs = false,
                MetricInterval = TimeSpan.FromSeconds(5),
                SampleRatio = 0.25,
            },
        };
        OtlpSettings settings = OtlpSettings.From(options, Environment(
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://theirs:4317 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_SERVICE_NAME=theirs OTEL_TRACES_SAMPLER=always_on OTEL_BSP_MAX_QUEUE_SIZE=9 PATH=x"));
        Assert.Equal((true, true, false), (settings.Traces, settings.Metrics, settings.Logs));
        (string Key, string Value)[] expected =
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ours:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"), ("OTEL_SERVICE_NAME", "ours"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"), ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25"), ("OTEL_BSP_MAX_QUEUE_SIZE", "9"),
        ];
        Assert.All(expected, pair => Assert.Equal(pair.Value, settings.Sdk[pair.Key]));
        Assert.DoesNotContain("PATH", settings.Sdk.Keys);
    }

    [Theory]
    [InlineData("http://c:4317", "grpc")]
    [InlineData("http://c:4318", "http/protobuf")]
    [InlineData("https://otlp.example.org", "http/protobuf")]
    public void The_port_says_which_protocol_is_meant(string endpoint, string protocol) =>
        Assert.Equal(protocol, OtlpSettings.From(new TelemetryOptions { Otlp = new OtlpOptions { Endpoint = endpoint } }, Environment("")).Sdk["OTEL_EXPORTER_OTLP_PROTOCOL"]);

    [Fact]
    public void A_service_name_among_the_resource_attributes_is_kept()
    {
        OtlpSettings settings = OtlpSettings.From(new TelemetryOptions(), Environment("OTEL_RESOURCE_ATTRIBUTES=deployment.environment=prod,service.name=mine"));
        Assert.False(settings.Sdk.ContainsKey("OTEL_SERVICE_NAME"));
        Assert.Equal("inference-service", OtlpSettings.From(new TelemetryOptions(), Environment("")).Sdk["OTEL_SERVICE_NAME"]);
    }

    [Theory]
    [InlineData("--otlp-endpoint collector:4317", "", "--otlp-endpoint: \"collector:4317\" is not an address such as http://collector:4317", "")]
    [InlineData("--otlp-endpoint http://user:secret@c:4317", "", "--otlp-endpoint: the address holds a user or password, which would be shown and not be sent; use Telemetry:Otlp:Headers", "")]
    [InlineData("--otlp-endpoint http://c:4317", "INFERENCE__Telemetry__Otlp__Protocol=http/json", "\"http/json\" is not one of grpc, http/protobuf", "")]
    [InlineData("", "INFERENCE__Telemetry__Otlp__SampleRatio=2", "INFERENCE__Telemetry__Otlp__SampleRatio: \"2\" is out of range (0 to 1)", "")]
    [InlineData("", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=c", "", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is not an address")]
    [InlineData("", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "", "OTEL_EXPORTER_OTLP_PROTOCOL is neither grpc nor http/protobuf")]
    [InlineData("", "OTEL_TRACES_EXPORTER=jaeger", "", "OTEL_TRACES_EXPORTER is neither otlp nor none")]
    public void What_cannot_work_is_told_at_start(string flags, string variables, string problem, string warning)
    {
        ConfigurationReading reading = ConfigurationReading.Read(
            CommandLine.Parse(flags.Split(' ', StringSplitOptions.RemoveEmptyEntries)), Environment(variables), AppContext.BaseDirectory);
        if (problem.Length > 0)
            Assert.Contains(problem, Assert.Single(reading.Problems), StringComparison.Ordinal);
        else
            Assert.Empty(reading.Problems);
        if (warning.Length > 0)
            Assert.Contains(warning, Assert.Single(reading.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Headers_are_not_printed()
    {
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([]), Environment("INFERENCE__Telemetry__Otlp__Headers=authorization=secret"), AppContext.BaseDirectory);
        Assert.Equal("***", Assert.Single(reading.Effective, setting => setting.Key == "Telemetry:Otlp:Headers").Value);
    }

    private static ProcessEnvironment Environment(string variables) => new()
    {
        Variables = variables.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]),
    };
}
