using InferenceService.Engine;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;
using Microsoft.Extensions.Logging.Abstractions;

namespace InferenceService.Server.Tests.Hosting;

public sealed class ModelCatalogTests : IDisposable
{
    private static readonly ProcessEnvironment NoVariables = new() { Variables = new Dictionary<string, string>() };
    private readonly ServerLifecycle _lifecycle = new(TimeProvider.System);
    private readonly InferenceMetrics _metrics = new(TimeProvider.System);
    private readonly StringWriter _output = new();

    [Fact]
    public async Task Models_are_found_by_every_name_and_are_gone_after_the_end()
    {
        ModelCatalog catalog = Catalog(Model("one", "uno"), Model("two"));
        Assert.Null(catalog.Find("one"));
        await catalog.LoadAsync(CancellationToken.None);
        Assert.True(catalog.IsLoaded);
        Assert.Equal(2, catalog.Models.Count);
        Assert.Same(catalog.Find("one"), catalog.Find("uno"));
        Assert.NotSame(catalog.Find("one"), catalog.Find("two"));
        Assert.Null(catalog.Find("One"));
        Assert.Null(catalog.Find(null));
        InferenceEngine engine = catalog.Models[0].Engine;
        Assert.Equal(EngineState.Running, engine.State);
        await catalog.DisposeAsync();
        Assert.Empty(catalog.Models);
        Assert.Equal(EngineState.Stopped, engine.State);
    }

    [Fact]
    public async Task The_only_model_needs_no_name()
    {
        await using ModelCatalog catalog = Catalog(Model("one"));
        await catalog.LoadAsync(CancellationToken.None);
        Assert.Same(catalog.Models[0], catalog.Find(null));
    }

    [Fact]
    public async Task A_model_is_loaded_for_the_length_it_is_served_with()
    {
        await using ModelCatalog catalog = Catalog(Model("one") with { MaxModelLen = 100 });
        await catalog.LoadAsync(CancellationToken.None);
        Assert.Equal((100, 100), (catalog.Models[0].MaxModelLength, catalog.Models[0].Engine.Model.Config.MaxPositions));
    }

    [Fact]
    public async Task The_warm_up_is_not_traffic()
    {
        await using ModelCatalog catalog = Catalog(Model("one"));
        await catalog.LoadAsync(CancellationToken.None);
        ModelMetrics metrics = Assert.Single(_metrics.Models);
        Assert.True(metrics.Baseline.GeneratedTokens > 0);
        EngineStatistics now = catalog.Models[0].Engine.Statistics;
        Assert.Equal(metrics.Baseline.GeneratedTokens, now.GeneratedTokens);
        Assert.Equal(0, now.BlocksUsed);
    }

    [Fact]
    public async Task The_console_tells_what_is_loaded()
    {
        await using ModelCatalog catalog = Catalog(Model("one"));
        await catalog.LoadAsync(CancellationToken.None);
        string text = _output.ToString();
        foreach (string label in (string[])["model", "architecture", "weights", "kv pool", "context", "device", "sampling", "loading"])
            Assert.Contains($"\n  {label,-14} ", "\n" + text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_models_of_one_name_are_refused_before_anything_is_loaded()
    {
        await using ModelCatalog catalog = Catalog(new ModelOptions { Path = TinyModel.Folder }, new ModelOptions { Path = TinyModel.Folder });
        var error = await Assert.ThrowsAsync<CheckpointException>(() => catalog.LoadAsync(CancellationToken.None));
        Assert.Equal("Two models are named \"tiny\"; tell them apart with Models:N:Names.", error.Message);
        Assert.False(catalog.IsLoaded);
        Assert.Empty(_metrics.Models);
    }

    [Fact]
    public async Task Loading_can_be_interrupted()
    {
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        await using ModelCatalog catalog = Catalog(Model("one"));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => catalog.LoadAsync(stop.Token));
        Assert.Empty(catalog.Models);
    }

    public void Dispose()
    {
        _lifecycle.Dispose();
        _output.Dispose();
    }

    private static ModelOptions Model(params string[] names) => new() { Path = TinyModel.Folder, Names = names };

    private ModelCatalog Catalog(params ModelOptions[] models)
    {
        var configuration = new ServerConfiguration { Models = models, Cpu = new CpuOptions { Threads = 1 }, Engine = new EngineSection { KvCacheMemoryBytes = 2 << 20 } };
        return new ModelCatalog(configuration, NoVariables, new StartupConsole(_output, TextWriter.Null, interactive: false), _lifecycle, _metrics, TimeProvider.System, NullLogger<ModelCatalog>.Instance);
    }
}
