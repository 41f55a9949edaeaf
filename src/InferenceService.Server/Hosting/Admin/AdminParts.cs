using System.Diagnostics.Metrics;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Telemetry.Otlp;

namespace InferenceService.Server.Hosting.Admin;

/// <summary>What the admin routes see of the server: they run in an application of their own, with nothing else in it.</summary>
/// <param name="Settings">Every setting with its source.</param>
/// <param name="Console">Where the start is told.</param>
/// <param name="Keys">Who may call.</param>
/// <param name="Catalog">The models.</param>
/// <param name="Lifecycle">Whether work is taken.</param>
/// <param name="Requests">What is under way.</param>
/// <param name="Bodies">Reads what is sent.</param>
/// <param name="Isolation">Between whom prefixes are shared.</param>
/// <param name="Levels">How much is logged.</param>
/// <param name="Http">Counts every request of the process.</param>
/// <param name="Meters">The process's meters.</param>
/// <param name="Export">What leaves by OTLP.</param>
/// <param name="Logs">The process's log.</param>
/// <param name="Time">The process's clock.</param>
internal sealed record AdminParts(
    ConfigurationReading Settings, StartupConsole Console, ApiKeys Keys, IModelCatalog Catalog, ServerLifecycle Lifecycle, ActiveRequests Requests, BodyReader Bodies,
    PrefixIsolation Isolation, LogLevels Levels, HttpMetrics Http, IMeterFactory Meters, OtlpSettings Export, ILoggerFactory Logs, TimeProvider Time);
