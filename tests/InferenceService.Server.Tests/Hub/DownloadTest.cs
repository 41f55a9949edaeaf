using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hub;

namespace InferenceService.Server.Tests.Hub;

/// <summary>Downloads from a hub in this process, into a cache of its own, by a clock that passes at once.</summary>
public abstract class DownloadTest : IAsyncLifetime, IDisposable
{
    private protected const string Weights = "model.safetensors";
    private protected static readonly HubModelId Id = new("org", "tiny", "main");

    public async Task InitializeAsync() => Hub = await HubServer.StartAsync();

    public async Task DisposeAsync() => await Hub.DisposeAsync();

    public void Dispose()
    {
        Output.Dispose();
        Warnings.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected HubServer Hub { get; private set; } = null!;

    private protected string Cache { get; } = Path.Combine(TinyModel.NewFolder(), "hub");

    private protected EagerTime Time { get; } = new();

    /// <summary>What the console shows.</summary>
    private protected StringWriter Output { get; } = new();

    private protected StringWriter Warnings { get; } = new();

    private protected string BlobPath => Path.Combine(Cache, "models--org--tiny", "blobs", HubServer.ChecksumOf(Weights, Hub.Files[Weights]));

    /// <summary>What is there of weights that are not complete; null = nothing.</summary>
    private protected FileInfo? Partial() => new FileInfo(BlobPath + ".incomplete") is { Exists: true } file ? file : null;

    private protected HubSettings Settings(string name = "UNUSED", string value = "")
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string> { ["HF_ENDPOINT"] = Hub.Endpoint, ["HF_HUB_CACHE"] = Cache, [name] = value, ["INFERENCE__Hub__IdleTimeout"] = "599.5s" } };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([]), environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        return HubSettings.From(reading.Options.Hub, environment);
    }

    private protected Task<string> DownloadAsync(HubModelId? id = null, HubSettings? settings = null, HubDisk? disk = null, CancellationToken cancellation = default) =>
        new ModelDownload(settings ?? Settings(), disk ?? new HubDisk(), new StartupConsole(Output, Warnings, interactive: false), Time).EnsureAsync(id ?? Id, cancellation);

    /// <summary>The message of a download that fails.</summary>
    private protected async Task<string> FailAsync(HubSettings? settings = null, HubDisk? disk = null) =>
        (await Assert.ThrowsAsync<CheckpointException>(() => DownloadAsync(settings: settings, disk: disk))).Message;
}
