using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Security;

/// <summary>Between whom cached prefixes are shared: what a hit saves tells its caller what somebody else has sent.</summary>
/// <remarks>Why the default is what it is: docs/adr/0013-whose-prefixes-are-shared.md.</remarks>
internal sealed class PrefixIsolation
{
    private readonly bool _bySalt;
    private readonly bool _byKey;

    /// <summary>Resolves <c>auto</c>: by key as soon as there are several.</summary>
    public PrefixIsolation(EngineSection engine, ApiKeys keys)
    {
        Mode = engine.PrefixIsolation != "auto" ? engine.PrefixIsolation : keys.Count > 1 ? "api-key" : "salt";
        (_bySalt, _byKey) = (Mode != "none", Mode == "api-key");
    }

    /// <summary>The word in force: none, salt or api-key.</summary>
    public string Mode { get; }

    /// <summary>The fields with the salt that the engine is to use: the request's own, and under <c>api-key</c> its key's.</summary>
    public GenerationFields Apply(HttpContext http, GenerationFields fields, Problems problems)
    {
        if (!_bySalt && fields.CacheSalt is not null)
            problems.Unsupported("cache_salt", "cache_salt: this server shares prefixes between all requests (Engine:PrefixIsolation is none); leave it out.");
        return _byKey ? fields with { CacheSalt = SaltOf(ApiKey.Of(http), fields.CacheSalt) } : fields;
    }

    // The id of a key has one length and a salt no line break, so that no two pairs of key and salt look alike.
    private static string SaltOf(ApiKey? key, string? salt) => $"{key?.Id}\n{salt}";
}
