namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Auth</c>: who may call. Without any key everybody may.</summary>
internal sealed record AuthOptions
{
    /// <summary>Keys given in configuration.</summary>
    [ReplacedAsAWhole]
    public IReadOnlyList<KeyOptions> Keys { get; init; } = [];

    /// <summary>File with one key a line: <c>KEY [scope,scope]</c> or <c>sha256:HEX [scope,scope]</c>; # starts a comment.</summary>
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
}
