using System.Security.Cryptography;
using System.Text;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Security;

/// <summary>The keys of this server, as SHA-256 digests only. Filled at start, read-only afterwards.</summary>
internal sealed class ApiKeys
{
    private readonly List<(byte[] Digest, ApiKey Key)> _keys = [];

    /// <summary>Keys known.</summary>
    public int Count => _keys.Count;

    /// <summary>False: everybody may call.</summary>
    public bool Required => _keys.Count > 0;

    /// <summary>Keys of configuration and key file.</summary>
    /// <exception cref="InvalidDataException">The key file cannot be used.</exception>
    public static ApiKeys From(AuthOptions options)
    {
        var keys = new ApiKeys();
        foreach (KeyOptions key in options.Keys)
        {
            if (key.Sha256 is { } hash)
                keys.AddHash(Convert.FromHexString(hash), ApiScopes.Combine(key.Scopes));
            else
                keys.Add(key.Value ?? throw new InvalidDataException("Auth:Keys: an entry has no value"), ApiScopes.Combine(key.Scopes));
        }

        if (options.KeyFile is { } path)
            ApiKeyFile.Load(path, keys);
        return keys;
    }

    /// <summary>Adds a key by its text.</summary>
    public void Add(string key, ApiScope scopes) => AddHash(SHA256.HashData(Encoding.UTF8.GetBytes(key)), scopes);

    /// <summary>Adds a key by its digest; a key that is there already gets these scopes too.</summary>
    public void AddHash(byte[] digest, ApiScope scopes)
    {
        int known = _keys.FindIndex(entry => entry.Digest.AsSpan().SequenceEqual(digest));
        if (known >= 0)
            _keys[known] = (digest, _keys[known].Key with { Scopes = _keys[known].Key.Scopes | scopes });
        else
            _keys.Add((digest, new ApiKey($"key-{_keys.Count + 1}", Convert.ToHexStringLower(digest), scopes)));
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
}
