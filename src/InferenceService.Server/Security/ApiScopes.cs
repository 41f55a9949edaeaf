namespace InferenceService.Server.Security;

/// <summary>What a key may do.</summary>
[Flags]
internal enum ApiScope
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Generate, tokenize, list models.</summary>
    Inference = 1,

    /// <summary>Read metrics and load.</summary>
    Metrics = 2,

    /// <summary>Operate the server.</summary>
    Admin = 4,
}

/// <summary>Scopes by the names that configuration uses.</summary>
internal static class ApiScopes
{
    /// <summary>For messages.</summary>
    public const string Names = "inference, metrics, admin";

    /// <summary>Scopes of a key that names none.</summary>
    public const ApiScope Default = ApiScope.Inference | ApiScope.Metrics;

    /// <summary>The scope of that name; null when there is none.</summary>
    public static ApiScope? Parse(string name) => name.Trim().ToLowerInvariant() switch
    {
        "inference" => ApiScope.Inference,
        "metrics" => ApiScope.Metrics,
        "admin" => ApiScope.Admin,
        _ => null,
    };

    /// <summary>Known names together; <see cref="Default"/> when there are none.</summary>
    public static ApiScope Combine(IEnumerable<string> names)
    {
        ApiScope scopes = names.Aggregate(ApiScope.None, (all, name) => all | (Parse(name) ?? ApiScope.None));
        return scopes == ApiScope.None ? Default : scopes;
    }
}
