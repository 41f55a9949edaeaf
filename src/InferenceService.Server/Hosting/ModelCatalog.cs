using InferenceService.Engine;
using InferenceService.Engine.Faults;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Devices;
using InferenceService.Server.Hub;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Hosting;

/// <summary>Loads the configured models, finds them by name, disposes them.</summary>
internal sealed class ModelCatalog(
    ServerConfiguration configuration, ProcessEnvironment environment, StartupConsole console, ServerLifecycle lifecycle, InferenceMetrics metrics, TimeProvider time,
    ILogger<ModelCatalog> logger, IFaultInjection? faults = null) : IModelCatalog, IAsyncDisposable
{
    // Connections are closed by then, and every request has its answer; an honest step ends within it.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly List<LoadedModel> _loaded = [];
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ModelDevice? _device;
    private Task? _freeing;
    private volatile ServedModel[] _models = [];

    /// <inheritdoc/>
    public IReadOnlyList<ServedModel> Models => _models;

    /// <inheritdoc/>
    public bool IsLoaded { get; private set; }

    /// <summary>The device has had a fault after which nothing can be done on it.</summary>
    public bool IsDeviceLost => _device?.IsLost ?? false;

    /// <summary>Completes with the fault's own words when the device is lost while models are served.</summary>
    public Task<string> DeviceLost => _lost.Task;

    /// <inheritdoc/>
    public ServedModel? Find(string? name)
    {
        ServedModel[] models = _models;
        if (name is null)
            return models.Length == 1 ? models[0] : null;
        foreach (ServedModel model in models)
        {
            for (int i = 0; i < model.Names.Count; i++)
            {
                if (model.Names[i] == name)
                    return model;
            }
        }

        return null;
    }

    /// <summary>Opens and checks every configured model without loading it.</summary>
    /// <exception cref="CheckpointException">One cannot be served; tokenizers and other files throw as <see cref="ModelPlan.Open"/> says.</exception>
    public static List<ModelPlan> Plan(ServerConfiguration configuration, ProcessEnvironment environment, ModelDevice device)
    {
        IReadOnlyList<ModelOptions> wanted = configuration.Models.Count > 0 ? configuration.Models : [new ModelOptions()];
        DeviceRoom room = device.RoomFor(wanted.Count);
        long? pool = configuration.Engine.KvCacheMemoryBytes / wanted.Count;
        var plans = new List<ModelPlan>();
        try
        {
            foreach (ModelOptions options in wanted)
                plans.Add(ModelPlan.Open(options, configuration.Engine, environment, room, pool));
            if (plans.SelectMany(plan => plan.Names).GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
                throw new CheckpointException($"Two models are named \"{twice.Key}\"; tell them apart with Models:N:Names.");
            return plans;
        }
        catch
        {
            plans.ForEach(plan => plan.Dispose());
            throw;
        }
    }

    /// <summary>Loads every configured model, then marks the server ready.</summary>
    /// <exception cref="Cuda.CudaException">The GPU that configuration names cannot be used.</exception>
    /// <exception cref="CheckpointException">One cannot be served; nothing stays loaded that <see cref="DisposeAsync"/> does not free.</exception>
    public async Task LoadAsync(CancellationToken cancellationToken)
    {
        ModelDevice device = _device = ModelDevice.Open(configuration, environment, console);
        device.Begin(console, logger);
        ServerConfiguration opened = configuration.On(device.Kind);
        await new ModelDownload(HubSettings.From(configuration.Hub, environment), new HubDisk(), console, time).EnsureAsync(configuration.Models, cancellationToken);
        List<ModelPlan> plans = Plan(opened, environment, device);
        for (int i = 0; i < plans.Count; i++)
        {
            try
            {
                PlanReport.Print(console, plans[i], opened, device);
                console.BeginProgress();
                LoadedModel loaded = await LoadedModel.LoadAsync(plans[i], opened, device, console, time, faults ?? NoFaults.Instance, cancellationToken);
                _loaded.Add(loaded);
                await loaded.WarmUpAsync(device, cancellationToken);
                PlanReport.PrintLoss(console, loaded.Weights);
                foreach (string warning in loaded.Warnings)
                    console.Warning(warning);
                metrics.For(loaded.Model);
                _models = [.. _models, loaded.Model];
                _ = WatchAsync(loaded.Model.Engine, device);
            }
            catch
            {
                plans.GetRange(i + 1, plans.Count - i - 1).ForEach(plan => plan.Dispose());
                throw;
            }
        }

        IsLoaded = true;
        lifecycle.MarkReady();
    }

    /// <summary>
    /// Frees all models, the last loaded first. The thread of an engine may be in a step that does not end: it is waited for a few seconds only,
    /// nothing is taken from under it, and what it holds is freed when it comes back after all. They stay listed until <see cref="DisposeAsync"/>: whoever
    /// asks how their engines ended still looks at them.
    /// </summary>
    /// <returns>Name of a model whose engine has not come back; null: all have, whether all is free by now or not.</returns>
    public async Task<string?> EndAsync()
    {
        _freeing ??= FreeAsync();
        try
        {
            await _freeing.WaitAsync(Patience, time);
            return null;
        }
        catch (TimeoutException)
        {
            return _loaded.FindLast(model => !model.Model.Engine.Ended.IsCompleted)?.Model.Names[0];
        }
    }

    /// <summary>As <see cref="EndAsync"/>; who has called that does not wait again.</summary>
    public async ValueTask DisposeAsync()
    {
        _models = [];
        if (_freeing is null)
            await EndAsync();
    }

    private async Task FreeAsync()
    {
        await Task.Yield(); // a device that hangs blocks who frees it
        foreach (LoadedModel loaded in _loaded) // all at once, so that only one that is stuck is late
            _ = loaded.Model.Engine.DrainAsync(new CancellationToken(canceled: true));
        for (int i = _loaded.Count - 1; i >= 0; i--)
            await _loaded[i].DisposeAsync();
        _device?.Dispose();
        _device = null;
    }

    // An engine that ends with its device takes the process with it; one that ends with a fault of its own stays to be seen by the probes.
    private async Task WatchAsync(InferenceEngine engine, ModelDevice device)
    {
        await engine.Ended;
        if (device.IsLost)
            _lost.TrySetResult(engine.Fault?.Message ?? "the engine ended");
    }
}
