using InferenceService.Engine.Faults;
using InferenceService.Server.Api;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Completions;
using InferenceService.Server.Api.Health;
using InferenceService.Server.Api.ModelList;
using InferenceService.Server.Api.OpenApi;
using InferenceService.Server.Api.Responses;
using InferenceService.Server.Api.Tokenize;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server;

/// <summary>Composition root: options, services, pipeline, routes. No logic.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        StartupConsole console = StartupConsole.OfProcess();
        ProcessEnvironment environment = ProcessEnvironment.Read();
        CommandLine commandLine = CommandLine.Parse(args);
        ConfigurationReading reading = ConfigurationReading.Read(commandLine, environment, AppContext.BaseDirectory);
        if (await OneShot.RunAsync(commandLine, reading, environment, console) is { } exitCode)
            return exitCode;
        try
        {
            await using WebApplication app = Build(reading, environment, console);
            return await app.Services.GetRequiredService<ServerRun>().ServeAsync(app);
        }
        catch (InvalidDataException exception)
        {
            console.Problem(exception.Message);
            return ServerRun.Misconfigured;
        }
    }

    /// <summary>The whole server, not yet listening. Tests start the same one.</summary>
    internal static WebApplication Build(ConfigurationReading reading, ProcessEnvironment environment, StartupConsole console, TimeProvider? time = null, IFaultInjection? faults = null)
    {
        ServerConfiguration options = reading.Options;
        ApiKeys keys = ApiKeys.From(options.Auth, time);
        ListenAddresses addresses = ListenAddresses.From(options.Server, environment.InContainer);
        WebApplicationBuilder builder = HostSetup.NewBuilder(reading, environment);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => addresses.Apply(kestrel, options.Limits));
        builder.Services.AddRoutingCore().AddCors().AddSingleton(time ?? TimeProvider.System).AddSingleton(faults ?? NoFaults.Instance);
        HostSetup.AddOptions(builder.Services, options);
        builder.Services.AddSingleton(environment).AddSingleton(console).AddSingleton(keys).AddSingleton(addresses).AddSingleton<PrefixIsolation>();
        builder.Services.AddSingleton<ServerLifecycle>().AddSingleton<IHostLifetime, DrainingLifetime>();
        TelemetryServices.AddTo(builder, options.Telemetry, environment);
        builder.Services.AddSingleton<ModelCatalog>().AddSingleton<IModelCatalog>(services => services.GetRequiredService<ModelCatalog>());
        builder.Services.AddSingleton<HealthState>().AddSingleton<ServerRun>().AddHostedService<EngineWatch>();
        builder.Services.AddInferenceApi();
        AdminServices.AddTo(builder, reading, keys);
        OpenApiPages.AddServices(builder.Services);

        WebApplication app = builder.Build();
        app.UseMiddleware<RequestEnvelope>().UseMiddleware<ErrorShape>();
        app.UsePathBase(options.Server.PathBase).UseRouting();
        CrossOrigin.Use(app, options.Cors);
        app.UseMiddleware<HostGuard>().UseMiddleware<BearerAuthentication>().UseMiddleware<WorkGate>();
        if (options.Server.SwaggerUi ?? app.Environment.IsDevelopment())
            OpenApiPages.UsePages(app);

        app.MapHealth();
        app.MapModelList();
        app.MapMetrics(options.Auth.OpenMetrics);
        app.MapCompletions();
        app.MapChatCompletions();
        app.MapTokenize();
        app.MapResponses();
        OpenApiPages.Map(app);
        return app;
    }
}
