using System.Diagnostics.CodeAnalysis;

namespace InferenceService.Models.Checkpoints;

/// <summary>The weight files of a folder: model.safetensors, or the shards that model.safetensors.index.json names.</summary>
internal sealed class ShardSet : IDisposable
{
    private const string SingleName = "model.safetensors", IndexName = "model.safetensors.index.json";
    private const int MaxIndexBytes = 64 << 20;
    private const int MaxTensors = 1 << 20;
    private const int MaxShards = 4096;

    private readonly Dictionary<string, SafetensorsFile> _shards = new(StringComparer.Ordinal);
    private readonly Dictionary<string, SafetensorsFile> _owner = new(StringComparer.Ordinal);

    private ShardSet(string name) => Name = name;

    /// <summary>The file that tells where tensors are, for messages.</summary>
    public string Name { get; }

    /// <summary>Opens the weight files of a folder. Where both forms exist, the single file wins, as upstream.</summary>
    /// <exception cref="CheckpointException">There are none, or they are damaged or not what the index says.</exception>
    public static ShardSet Open(string folder)
    {
        bool single = File.Exists(Path.Combine(folder, SingleName));
        byte[]? index = single ? null : Checkpoint.ReadSmall(folder, IndexName, MaxIndexBytes);
        if (!single && index is null)
            throw new CheckpointException(WhatThereIs(folder));
        var set = new ShardSet(single ? SingleName : IndexName);
        try
        {
            if (single)
                set.AddSingle(folder);
            else
                set.AddIndexed(folder, ConfigJson.Parse(index, IndexName));
            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>The file that holds a tensor, and what its header says.</summary>
    public bool TryFind(string tensor, [NotNullWhen(true)] out SafetensorsFile? shard, out StoredTensor stored)
    {
        stored = default;
        return _owner.TryGetValue(tensor, out shard) && shard.TryFind(tensor, out stored);
    }

    /// <summary>Ends the mapping of all files.</summary>
    public void Dispose()
    {
        foreach (SafetensorsFile shard in _shards.Values)
            shard.Dispose();
    }

    private void AddSingle(string folder)
    {
        SafetensorsFile file = _shards[SingleName] = SafetensorsFile.Open(Path.Combine(folder, SingleName));
        foreach (string tensor in file.TensorNames)
            _owner.Add(tensor, file);
    }

    private void AddIndexed(string folder, ConfigJson index)
    {
        foreach ((string tensor, string shardName) in index.TextMap("weight_map", MaxTensors))
        {
            SafetensorsFile shard = Shard(folder, shardName);
            if (!shard.TryFind(tensor, out _))
                throw shard.Error(tensor, $"is not in the file, although {IndexName} says so");
            _owner.Add(tensor, shard);
        }
    }

    private SafetensorsFile Shard(string folder, string name)
    {
        if (_shards.TryGetValue(name, out SafetensorsFile? shard))
            return shard;
        if (!IsPlainName(name))
            throw new CheckpointException($"{IndexName}: shard {Quote.Value(name)} is not the plain name of a .safetensors file.");
        if (_shards.Count == MaxShards)
            throw new CheckpointException($"{IndexName}: more than {MaxShards} shards.");
        string path = Path.Combine(folder, name);
        if (!File.Exists(path))
            throw new CheckpointException($"{IndexName}: shard {Quote.Value(name)} is missing from the model folder.");
        return _shards[name] = SafetensorsFile.Open(path);
    }

    /// <summary>A name that stays in the folder on every system: an index comes from outside and must not open other files.</summary>
    private static bool IsPlainName(string name) => name.EndsWith(".safetensors", StringComparison.Ordinal)
        && name.Length <= 255 && name[0] != '.' && !name.AsSpan().ContainsAny("/\\:\0");

    private static string WhatThereIs(string folder)
    {
        string wanted = $"The model folder has neither {SingleName} nor {IndexName}";
        foreach ((string pattern, string kind) in (ReadOnlySpan<(string, string)>)
            [("*.bin", "PyTorch .bin"), ("*.pth", "PyTorch .pth"), ("*.pt", "PyTorch .pt"), ("*.gguf", "GGUF")])
        {
            if (Directory.EnumerateFiles(folder, pattern).Any())
                return $"{wanted}, only {kind} weights, which are not supported; convert them to safetensors.";
        }

        return $"{wanted}: no weights.";
    }
}
