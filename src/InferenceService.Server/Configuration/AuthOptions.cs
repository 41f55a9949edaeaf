using System.ComponentModel.DataAnnotations;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Auth</c>: who may call. Without any key everybody may.</summary>
internal sealed record AuthOptions
{
    /// <summary>Keys given in configuration.</summary>
    [ReplacedAsAWhole]
    public IReadOnlyList<KeyOptions> Keys { get; init; } = [];

    /// <summary>File with one key a line: <c>KEY [scope,scope] [setting=value …]</c>, or <c>sha256:HEX</c> for the key; # starts a comment.</summary>
    public string? KeyFile { get; init; }

    /// <summary>/metrics needs no key. Default false.</summary>
    public bool OpenMetrics { get; init; }
}

/// <summary>Section <c>Auth:Keys:N</c>; a plain string is the key itself, with every scope but admin.</summary>
internal sealed record KeyOptions
{
    /// <summary>The key.</summary>
    [Secret, ScalarForm]
    public string? Value { get; init; }

    /// <summary>SHA-256 of the key in hexadecimal, instead of the key.</summary>
    [Secret]
    public string? Sha256 { get; init; }

    /// <summary>Any of inference, metrics, admin. Default inference and metrics.</summary>
    public IReadOnlyList<string> Scopes { get; init; } = [];

    /// <summary>How logs and metrics call it: 1 to 64 letters, digits, dots, dashes, underscores. Only named keys have series of their own. Default <c>key-N</c>.</summary>
    public string? Name { get; init; }

    /// <summary>Names of the models it may use. Default all.</summary>
    public IReadOnlyList<string> Models { get; init; } = [];

    /// <summary>KV policies its requests may run under. Default all that the model offers.</summary>
    public IReadOnlyList<string> KvPolicies { get; init; } = [];

    /// <summary>The most urgent <c>priority</c> (the smallest number) its requests may ask for. Default none.</summary>
    public int? MaxPriority { get; init; }

    /// <summary>Requests a minute; a minute's worth may come at once. Range 1–1,000,000, default no limit.</summary>
    [Range(1, 1_000_000)]
    public int? RequestsPerMinute { get; init; }

    /// <summary>Tokens a minute, of prompts and answers: what a request asks for when it comes, what it used once it has ended. Range 1–1,000,000,000, default no limit.</summary>
    [Range(1, 1_000_000_000)]
    public int? TokensPerMinute { get; init; }

    /// <summary>Requests under way at once. Range 1–100,000, default no limit.</summary>
    [Range(1, 100_000)]
    public int? ConcurrentRequests { get; init; }

    /// <summary>What is due to it of the engine when others wait too. Range 0.01–1000, default 1.</summary>
    [Range(0.01, 1000.0)]
    public double Weight { get; init; } = 1;

    /// <summary>It is more than a key with scopes.</summary>
    internal bool SaysMoreThanScopes => this with { Value = null, Sha256 = null, Scopes = Nothing, Models = Nothing, KvPolicies = Nothing } != Plain || Models.Count + KvPolicies.Count > 0;

    private static readonly string[] Nothing = [];

    private static readonly KeyOptions Plain = new() { Scopes = Nothing, Models = Nothing, KvPolicies = Nothing };
}
