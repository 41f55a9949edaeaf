using InferenceService.Server.Api.Admin;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Security;

namespace InferenceService.Server.Hosting.Admin;

/// <summary>The admin routes on their own port: a second small application beside the public one, which therefore cannot reach them.</summary>
/// <remarks>It begins to listen once the public one does, and ends after it: a server that drains can still be looked at.</remarks>
internal sealed class AdminPort(AdminParts parts, AdminAddress address) : IHostedLifecycleService, IAsyncDisposable
{
    private WebApplication? _app;

    /// <summary>Where it listens; null = it does not.</summary>
    public string? Address => _app?.Urls.FirstOrDefault();

    /// <summary>Its endpoints.</summary>
    public IEnumerable<Endpoint> Endpoints => _app is null ? [] : ((IEndpointRouteBuilder)_app).DataSources.SelectMany(source => source.Endpoints);

    /// <summary>Listens, now that the public port is bound. A default port that is taken is a warning, a chosen one an error.</summary>
    public async Task StartedAsync(CancellationToken cancellationToken)
    {
        if (address.At is not { } addresses)
            return;
        WebApplication app = Build(addresses);
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch (Exception exception) when (BindFailure.Of(exception, addresses, "--admin-host", "--admin-port") is { } problem)
        {
            await app.DisposeAsync();
            if (address.IsChosen)
                throw new InvalidDataException($"admin routes: {problem}");
            parts.Console.Warning($"this server has no admin routes: {problem} (none = no admin routes).");
            return;
        }

        _app = app;
        parts.Console.Fact("admin", Address!);
    }

    /// <summary>Stops listening.</summary>
    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        if (_app is not null)
            await _app.StopAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
        _app = null;
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>The application of the port, not yet listening.</summary>
    internal WebApplication Build(ListenAddresses addresses)
    {
        ServerConfiguration options = parts.Settings.Options;
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => addresses.Apply(kestrel, options.Limits));
        builder.Services.AddRoutingCore().AddSingleton<IHostLifetime, EndsWithTheServer>();
        builder.Services.AddSingleton(parts.Logs).AddSingleton(parts.Meters).AddSingleton(parts.Time).AddSingleton(parts.Keys);
        builder.Services.AddSingleton(parts.Http).AddSingleton(parts.Export);
        builder.Services.AddSingleton(options.Limits).AddSingleton(options.Logging).AddSingleton(options.Server);
        WebApplication app = builder.Build();
        app.UseMiddleware<RequestEnvelope>().UseMiddleware<ErrorShape>();
        app.UseRouting();
        app.UseMiddleware<AdminAudit>().UseMiddleware<BrowserGuard>().UseMiddleware<HostGuard>().UseMiddleware<BearerAuthentication>(RouteAccess.Admin);
        app.MapAdmin(parts);
        return app;
    }

    // The host's own lifetime would listen for signals, which are the server's.
    private sealed class EndsWithTheServer : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
