namespace InferenceService.Server.Hosting;

/// <summary>The models of this process. Lookups are by any served name.</summary>
public interface IModelCatalog
{
    /// <summary>Models that are loaded, in configuration order.</summary>
    IReadOnlyList<ServedModel> Models { get; }

    /// <summary>True once every configured model is loaded and warm; it stays true while the server ends.</summary>
    bool IsLoaded { get; }

    /// <summary>The model of that name; with a null name the only model, if exactly one is served.</summary>
    ServedModel? Find(string? name);
}
