using System.Net.Http.Headers;
using InferenceService.Engine.Faults;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Server.Tests;

/// <summary>The real server on a real socket of its own, serving <see cref="TinyModel"/> unless flags name another.</summary>
public sealed class TestServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private TestServer(WebApplication app, StringWriter output, StringWriter error)
    {
        (_app, Output, Error) = (app, output, error);
        Address = new Uri(app.Urls.First());
        Client = NewClient();
    }

    /// <summary>Scheme, host and port.</summary>
    public Uri Address { get; }

    /// <summary>A client without key whose relative addresses start at the server's root.</summary>
    public HttpClient Client { get; }

    /// <summary>What the start-up console wrote.</summary>
    public StringWriter Output { get; }

    /// <summary>Its warnings and errors.</summary>
    public StringWriter Error { get; }

    /// <summary>Starts with the tiny model, loaded and warm.</summary>
    /// <param name="flags">
    /// As on the command line; an entry like <c>Limits:StrictRequests=true</c> is a setting that has no flag, one like <c>OTEL_SERVICE_NAME=x</c> or <c>HF_TOKEN=x</c> a variable.
    /// </param>
    public static Task<TestServer> StartAsync(params string[] flags) => StartAsync(load: true, TimeProvider.System, flags);

    /// <summary>Starts without loading a model: the server listens and says so.</summary>
    public static Task<TestServer> StartWithoutModelAsync(params string[] flags) => StartAsync(load: false, TimeProvider.System, flags);

    /// <summary>Starts with a clock of the test's own.</summary>
    public static Task<TestServer> StartAsync(bool load, TimeProvider time, params string[] flags) => StartAsync(load, time, faults: null, flags);

    /// <summary>Starts with faults on purpose too.</summary>
    public static async Task<TestServer> StartAsync(bool load, TimeProvider time, IFaultInjection? faults, params string[] flags)
    {
        string[] model = flags.Contains("--model") ? [] : ["--model", TinyModel.Folder];
        // Tests run side by side; one that wants the admin routes lets the system choose their port.
        string[] admin = flags.Contains("--admin-port") ? [] : ["--admin-port", "none"];
        var variables = new Dictionary<string, string> { ["ASPNETCORE_ENVIRONMENT"] = "Testing" };
        string[] settings = [.. flags.Where(flag => char.IsAsciiLetterUpper(flag[0]) && flag.Contains('=', StringComparison.Ordinal))];
        foreach (string[] setting in settings.Select(setting => setting.Split('=', 2)))
            variables[setting[0].Split('_')[0] is "OTEL" or "HF" ? setting[0] : ConfigurationLayer.EnvironmentPrefix + setting[0].Replace(":", "__", StringComparison.Ordinal)] = setting[1];
        var environment = new ProcessEnvironment { Variables = variables };
        ConfigurationReading reading = ConfigurationReading.Read(
            CommandLine.Parse([.. model, .. admin, "--port", "0", "--threads", "1", .. flags.Where(flag => !settings.Contains(flag))]), environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        var output = new StringWriter();
        var error = new StringWriter();
        WebApplication app = Program.Build(reading, environment, new StartupConsole(output, error, interactive: false), time, faults);
        try
        {
            await app.StartAsync();
            if (load)
                await app.Services.GetRequiredService<ModelCatalog>().LoadAsync(CancellationToken.None);
            return new TestServer(app, output, error);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    /// <summary>A client of its own connection pool.</summary>
    public HttpClient NewClient(string? key = null)
    {
        var client = new HttpClient { BaseAddress = Address, Timeout = TimeSpan.FromMinutes(2) };
        if (key is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    /// <summary>A client of the admin port; the server was started with <c>--admin-port 0</c>.</summary>
    public HttpClient NewAdminClient(string? key = null)
    {
        HttpClient client = NewClient(key);
        client.BaseAddress = new Uri(Service<AdminPort>().Address!);
        return client;
    }

    /// <summary>A service of the application.</summary>
    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        await Output.DisposeAsync();
        await Error.DisposeAsync();
    }
}

/// <summary>One server with default settings for all tests of the collection; they must not change its state.</summary>
public sealed class ServerFixture : IAsyncLifetime
{
    /// <summary>The running server.</summary>
    public TestServer Server { get; private set; } = null!;

    public async Task InitializeAsync() => Server = await TestServer.StartAsync();

    public async Task DisposeAsync() => await Server.DisposeAsync();
}

/// <summary>Tests that share <see cref="ServerFixture"/>: <c>[Collection(ServerCollection.Name)]</c>.</summary>
[CollectionDefinition(Name)]
public sealed class ServerCollection : ICollectionFixture<ServerFixture>
{
    public const string Name = "server";
}
