using System.Security.Cryptography;
using System.Text;
using InferenceService.Engine;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Security;

/// <summary>The keys of this server, as SHA-256 digests only. Filled at start, read-only afterwards.</summary>
internal sealed class ApiKeys(TimeProvider time)
{
    private readonly List<(byte[] Digest, ApiKey Key)> _keys = [];

    /// <summary>Keys known.</summary>
    public int Count => _keys.Count;

    /// <summary>False: everybody may call.</summary>
    public bool Required => _keys.Count > 0;

    /// <summary>Every key, in the order of configuration, then key file.</summary>
    public IEnumerable<ApiKey> All => _keys.Select(entry => entry.Key);

    /// <summary>Keys of configuration and key file.</summary>
    /// <exception cref="InvalidDataException">The key file cannot be used, or keys contradict each other.</exception>
    public static ApiKeys From(AuthOptions options, TimeProvider? time = null)
    {
        var keys = new ApiKeys(time ?? TimeProvider.System);
        foreach (KeyOptions key in options.Keys)
            keys.Add(key);
        if (options.KeyFile is { } path)
            ApiKeyFile.Load(path, keys);
        keys.Complete();
        return keys;
    }

    /// <summary>Adds a key; one that is there already gets these scopes too.</summary>
    /// <param name="options">Checked.</param>
    /// <exception cref="InvalidDataException">It has no value, or is there already with other settings.</exception>
    public void Add(KeyOptions options)
    {
        byte[] digest = options.Sha256 is { } hash
            ? Convert.FromHexString(hash)
            : SHA256.HashData(Encoding.UTF8.GetBytes(options.Value ?? throw new InvalidDataException("Auth:Keys: an entry has no value")));
        ApiScope scopes = ApiScopes.Combine(options.Scopes);
        int known = _keys.FindIndex(entry => entry.Digest.AsSpan().SequenceEqual(digest));
        if (known < 0)
        {
            _keys.Add((digest, new ApiKey(options.Name ?? $"key-{_keys.Count + 1}", Convert.ToHexStringLower(digest), scopes)
            {
                IsNamed = options.Name is not null,
                Account = new KeyAccount(options, time),
                Weight = options.Weight,
                Rights = new KeyRights([.. options.Models], [.. options.KvPolicies], options.MaxPriority),
            }));
            return;
        }

        ApiKey before = _keys[known].Key;
        if (options.SaysMoreThanScopes)
            throw new InvalidDataException($"API key {known + 1} is given twice; only the first may say more than scopes");
        _keys[known] = (digest, before with { Scopes = before.Scopes | scopes });
    }

    /// <summary>
    /// The presented key; null when it is unknown. A missing key takes the same path (as an empty one), and every stored
    /// digest is compared in fixed time, so that neither tells the other apart by its duration.
    /// </summary>
    public ApiKey? Find(string? presented)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(presented ?? ""), digest);
        ApiKey? found = null;
        foreach ((byte[] known, ApiKey key) in _keys)
        {
            if (CryptographicOperations.FixedTimeEquals(known, digest))
                found = key;
        }

        return presented is null ? null : found;
    }

    // Names must tell keys apart, and the engines must be able to: what they remember of each is bounded by this number.
    private void Complete()
    {
        if (_keys.Count > GenerationRequest.MaxClient)
            throw new InvalidDataException($"{_keys.Count} API keys are configured (at most {GenerationRequest.MaxClient})");
        for (int i = 0; i < _keys.Count; i++)
        {
            int first = _keys.FindIndex(entry => entry.Key.Name == _keys[i].Key.Name);
            if (first < i)
                throw new InvalidDataException($"API keys {first + 1} and {i + 1} have the same name"); // which somebody may have given the value of a key
        }

        bool several = _keys.Count(entry => entry.Key.Scopes.HasFlag(ApiScope.Inference)) > 1;
        for (int i = 0; several && i < _keys.Count; i++)
            _keys[i] = (_keys[i].Digest, _keys[i].Key with { Client = i + 1 });
    }
}
