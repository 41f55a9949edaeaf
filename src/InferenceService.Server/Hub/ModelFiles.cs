using System.Text.Json;
using InferenceService.Models;

namespace InferenceService.Server.Hub;

/// <summary>Which files of a model a server needs. Weights in other formats (pickles) and code are never among them.</summary>
internal static class ModelFiles
{
    /// <summary>Names the shards, where there is no <see cref="SingleWeights"/>.</summary>
    public const string Index = "model.safetensors.index.json";

    private const string SingleWeights = "model.safetensors";
    private const string TemplateFolder = "additional_chat_templates/";
    private const long MaxSmallBytes = 512L << 20;
    private const int MaxTemplates = 100;
    private const int MaxShards = 4096;
    private static readonly string[] Required = ["config.json", "tokenizer.json"];

    private static readonly string[] Small =
    [
        .. Required, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
    ];

    /// <summary>What a folder lacks to be served; null = nothing.</summary>
    /// <exception cref="CheckpointException">Its index is damaged.</exception>
    public static string? FirstMissing(string folder)
    {
        if (Array.Find(Required, name => !IsThere(Path.Combine(folder, name))) is { } missing)
            return missing;
        if (IsThere(Path.Combine(folder, SingleWeights)))
            return null;
        string index = Path.Combine(folder, Index);
        return IsThere(index) ? ShardsOf(index).Find(name => !IsThere(Path.Combine(folder, name))) : SingleWeights;
    }

    /// <summary>Configuration, tokenizer, templates, and the index of the weights where one is needed.</summary>
    /// <exception cref="CheckpointException">The model cannot be served from what its hub has, or a file is too large to be what it claims.</exception>
    public static List<HubFile> SmallOf(HubModelId id, HubListing listing)
    {
        if (Array.Find(Required, name => listing.Find(name) is null) is { } missing)
            throw new CheckpointException($"--model: \"{id}\" has no {missing}, which is needed to serve it.");
        bool single = listing.Find(SingleWeights) is not null;
        if (!single && listing.Find(Index) is null)
            throw new CheckpointException($"--model: \"{id}\" has neither {SingleWeights} nor {Index}; weights in other formats are never downloaded.");
        List<HubFile> files = [.. listing.Files.Where(file => Small.Contains(file.Name) || IsTemplate(file.Name) || (!single && file.Name == Index))];
        if (files.Count(file => IsTemplate(file.Name)) > MaxTemplates)
            throw new CheckpointException($"--model: \"{id}\" has more than {MaxTemplates} chat templates.");
        return files.Find(file => file.Size > MaxSmallBytes) is { } large
            ? throw new CheckpointException($"--model: \"{id}\" states {large.Size} bytes for {large.Name}; at most {MaxSmallBytes} are allowed.")
            : files;
    }

    /// <summary>The weights: the single file, or the shards that the downloaded index names.</summary>
    /// <param name="index">The index on disk; null where there is a single file.</param>
    /// <exception cref="CheckpointException">The index is damaged or names files that the hub does not have.</exception>
    public static List<HubFile> WeightsOf(HubModelId id, HubListing listing, string? index) => index is null
        ? [listing.Find(SingleWeights)!]
        : ShardsOf(index).ConvertAll(name => listing.Find(name)
            ?? throw new CheckpointException($"--model: {Index} of \"{id}\" names {name}, which its hub does not have."));

    // A link to nothing exists, as far as File.Exists can tell.
    private static bool IsThere(string path) => File.Exists(path) && (File.ResolveLinkTarget(path, returnFinalTarget: true)?.Exists ?? true);

    private static bool IsTemplate(string name) =>
        name.StartsWith(TemplateFolder, StringComparison.Ordinal) && name.EndsWith(".jinja", StringComparison.Ordinal)
        && HubModelId.IsPlain(name[TemplateFolder.Length..]);

    private static List<string> ShardsOf(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            using JsonDocument document = JsonDocument.Parse(file);
            var names = new SortedSet<string>(StringComparer.Ordinal);
            foreach (JsonProperty tensor in document.RootElement.GetProperty("weight_map").EnumerateObject())
            {
                string name = tensor.Value.GetString() ?? "";
                if (!HubModelId.IsPlain(name) || !name.EndsWith(".safetensors", StringComparison.Ordinal))
                    throw new CheckpointException($"{Index}: a shard is not the plain name of a .safetensors file.");
                if (names.Add(name) && names.Count > MaxShards)
                    throw new CheckpointException($"{Index}: more than {MaxShards} shards.");
            }

            return [.. names];
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            // The exception's own words quote the file.
            string why = exception is JsonException at ? $"no valid JSON at line {at.LineNumber + 1}, byte {at.BytePositionInLine + 1}" : "weight_map is missing, or no object of strings";
            throw new CheckpointException($"{Index} is damaged: {why}.");
        }
    }
}
