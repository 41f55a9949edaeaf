using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Hosting;

/// <summary>Loads the configured models, finds them by name, disposes them.</summary>
internal sealed class ModelCatalog(
    ServerConfiguration configuration, ProcessEnvironment environment, StartupConsole console, ServerLifecycle lifecycle, InferenceMetrics metrics, TimeProvider time)
    : IModelCatalog, IAsyncDisposable
{
    private readonly List<LoadedModel> _loaded = [];
    private volatile ServedModel[] _models = [];

    /// <inheritdoc/>
    public IReadOnlyList<ServedModel> Models => _models;

    /// <inheritdoc/>
    public bool IsReady => lifecycle.Phase == ServerPhase.Ready;

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
    public static List<ModelPlan> Plan(ServerConfiguration configuration, ProcessEnvironment environment)
    {
        IReadOnlyList<ModelOptions> wanted = configuration.Models.Count > 0 ? configuration.Models : [new ModelOptions()];
        long available = AvailableMemory.Bytes() / wanted.Count;
        long? pool = configuration.Engine.KvCacheMemoryBytes / wanted.Count;
        var plans = new List<ModelPlan>();
        try
        {
            foreach (ModelOptions options in wanted)
                plans.Add(ModelPlan.Open(options, configuration.Engine, environment, available, pool));
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
    /// <exception cref="CheckpointException">One cannot be served; nothing stays loaded that <see cref="DisposeAsync"/> does not free.</exception>
    public async Task LoadAsync(CancellationToken cancellationToken)
    {
        List<ModelPlan> plans = Plan(configuration, environment);
        for (int i = 0; i < plans.Count; i++)
        {
            try
            {
                PlanReport.Print(console, plans[i], configuration);
                console.BeginProgress();
                LoadedModel loaded = await LoadedModel.LoadAsync(plans[i], configuration, console, time, cancellationToken);
                _loaded.Add(loaded);
                PlanReport.PrintLoss(console, loaded.Weights);
                metrics.For(loaded.Model);
                _models = [.. _models, loaded.Model];
            }
            catch
            {
                plans.GetRange(i + 1, plans.Count - i - 1).ForEach(plan => plan.Dispose());
                throw;
            }
        }

        lifecycle.MarkReady();
    }

    /// <summary>Frees all models, the last loaded first.</summary>
    public async ValueTask DisposeAsync()
    {
        _models = [];
        for (int i = _loaded.Count - 1; i >= 0; i--)
            await _loaded[i].DisposeAsync();
        _loaded.Clear();
    }
}
