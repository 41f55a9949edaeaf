using InferenceService.Compute;
using InferenceService.Models.Architectures;

namespace InferenceService.Models.Checkpoints;

/// <summary>A Hugging Face model folder: config.json, generation_config.json, and weights in safetensors files.</summary>
/// <remarks>Weights are mapped, not copied: dispose only after the models that use them.</remarks>
public sealed class Checkpoint : IWeightSource, IDisposable
{
    private const int MaxConfigBytes = 16 << 20;

    private readonly ShardSet _shards;

    private Checkpoint(ModelConfig config, GenerationDefaults generation, ShardSet shards, long weightBytes) =>
        (Config, Generation, _shards, WeightBytes) = (config, generation, shards, weightBytes);

    /// <summary>Shape of the model.</summary>
    public ModelConfig Config { get; }

    /// <summary>Sampling defaults; <see cref="GenerationDefaults.None"/> when the folder has no generation_config.json.</summary>
    public GenerationDefaults Generation { get; }

    /// <summary>Bytes of all weights that the model uses, as stored.</summary>
    public long WeightBytes { get; }

    /// <summary>Element type of the weights: the embedding's.</summary>
    public DType StoredType => TryGet(DecoderWeights.Of(Config).Embedding.Name, out Tensor embedding) ? embedding.Type : Config.StatedType ?? DType.F32;

    /// <summary>Opens a folder and checks that every weight is there, in a supported type and the right shape.</summary>
    /// <exception cref="CheckpointException">It is not a checkpoint that can be served; one line that says why.</exception>
    public static Checkpoint Open(string folder)
    {
        if (!Directory.Exists(folder))
            throw new CheckpointException($"The model folder {Quote.Value(folder)} does not exist.");
        ReadOnlySpan<byte> configJson = ReadSmall(folder, "config.json", MaxConfigBytes)
            ?? throw new CheckpointException("config.json is missing from the model folder.");
        ReadOnlySpan<byte> generationJson = ReadSmall(folder, "generation_config.json", MaxConfigBytes);
        ModelConfig config = ModelConfig.FromJson(configJson, generationJson);
        GenerationDefaults generation = GenerationDefaults.FromJson(generationJson);
        ShardSet shards = ShardSet.Open(folder);
        try
        {
            return new Checkpoint(config, generation, shards, Check(config, shards));
        }
        catch
        {
            shards.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="CheckpointException">The tensor exists, but its type or number of dimensions is not supported.</exception>
    public bool TryGet(string name, out Tensor weight)
    {
        bool found = _shards.TryFind(name, out SafetensorsFile? shard, out StoredTensor stored);
        weight = found ? shard!.View(name, stored) : default;
        return found;
    }

    /// <summary>Ends the mapping of all weights.</summary>
    public void Dispose() => _shards.Dispose();

    /// <summary>A whole small file, or null when there is none.</summary>
    internal static byte[]? ReadSmall(string folder, string name, int maxBytes)
    {
        var file = new FileInfo(Path.Combine(folder, name));
        if (!file.Exists)
            return null;
        if (file.Length > maxBytes)
            throw new CheckpointException($"{name}: the file has {file.Length} bytes; allowed: up to {maxBytes}.");
        try
        {
            return File.ReadAllBytes(file.FullName);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{name}: the file cannot be read ({e.GetType().Name}).", e);
        }
    }

    private static long Check(ModelConfig config, ShardSet shards)
    {
        long bytes = 0;
        int missing = 0;
        string first = "";
        foreach (WeightSpec spec in DecoderWeights.Of(config).All())
        {
            if (!shards.TryFind(spec.Name, out SafetensorsFile? shard, out StoredTensor stored))
            {
                first = missing++ == 0 ? spec.Name : first;
                continue;
            }

            Tensor weight = shard!.View(spec.Name, stored);
            if (weight.Rows != spec.Rows || weight.Columns != spec.Columns)
                throw shard.Error(spec.Name, $"has shape {stored.ShapeText}; config.json asks for {Shape(spec)}");
            bytes += stored.Bytes;
        }

        return missing == 0 ? bytes : throw new CheckpointException(
            $"{shards.Name}: {missing} tensors that {config.Architecture} needs are missing, the first is {Quote.Value(first)}.");
    }

    private static string Shape(WeightSpec spec) => spec.Rows == 1 ? $"[{spec.Columns}]" : $"[{spec.Rows}, {spec.Columns}]";
}
