namespace InferenceService.Server.Configuration;

/// <summary>Everything this process was told, bound and checked: one record a section.</summary>
internal sealed record ServerConfiguration
{
    /// <summary>Models to serve; none = the embedded one.</summary>
    public IReadOnlyList<ModelOptions> Models { get; init; } = [];

    /// <summary>Download of models named by id.</summary>
    public HubOptions Hub { get; init; } = new();

    /// <summary>Batching, cache and scheduling.</summary>
    public EngineSection Engine { get; init; } = new();

    /// <summary>Queue bounds.</summary>
    public AdmissionOptions Admission { get; init; } = new();

    /// <summary>What one request may ask for.</summary>
    public LimitOptions Limits { get; init; } = new();

    /// <summary>Event streams.</summary>
    public StreamingOptions Streaming { get; init; } = new();

    /// <summary>Addresses, drain and documentation pages.</summary>
    public HttpOptions Server { get; init; } = new();

    /// <summary>Keys.</summary>
    public AuthOptions Auth { get; init; } = new();

    /// <summary>Browser origins.</summary>
    public CorsOptions Cors { get; init; } = new();

    /// <summary>The CPU backend.</summary>
    public CpuOptions Cpu { get; init; } = new();

    /// <summary>The GPU.</summary>
    public CudaSection Cuda { get; init; } = new();

    /// <summary>Metrics, traces and their export.</summary>
    public TelemetryOptions Telemetry { get; init; } = new();

    /// <summary>The same with the device that was opened in the place of "auto", on which defaults depend.</summary>
    public ServerConfiguration On(string device) => this with { Engine = Engine with { Device = device } };

    /// <summary>Ours besides the framework's own keys of the section.</summary>
    public LoggingOptions Logging { get; init; } = new();
}
