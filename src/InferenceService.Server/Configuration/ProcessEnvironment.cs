using System.Collections;

namespace InferenceService.Server.Configuration;

/// <summary>The only reader of environment variables.</summary>
internal sealed record ProcessEnvironment
{
    /// <summary>All variables.</summary>
    public required IReadOnlyDictionary<string, string> Variables { get; init; }

    /// <summary>Selects <c>appsettings.NAME.json</c>; Production unless ASPNETCORE_ENVIRONMENT or DOTNET_ENVIRONMENT says otherwise.</summary>
    public string Name => Get("ASPNETCORE_ENVIRONMENT") ?? Get("DOTNET_ENVIRONMENT") ?? "Production";

    /// <summary>Runs in a container: .NET's images say so.</summary>
    public bool InContainer => Get("DOTNET_RUNNING_IN_CONTAINER") is "true" or "1";

    /// <summary>Folder in which the Hugging Face hub's clients keep models.</summary>
    public string? HubCache => Get("HF_HUB_CACHE") ?? InHubHome("hub");

    /// <summary>Where the hub's clients download from; null = not stated.</summary>
    public string? HubEndpoint => Get("HF_ENDPOINT");

    /// <summary>The hub's clients are told not to use the network.</summary>
    public bool HubOffline => Get("HF_HUB_OFFLINE")?.ToUpperInvariant() is "1" or "TRUE" or "YES" or "ON";

    /// <summary>Token for the hub.</summary>
    public string? HubToken => Get("HF_TOKEN");

    /// <summary>File with that token; it need not exist.</summary>
    public string? HubTokenFile => Get("HF_TOKEN_PATH") ?? InHubHome("token");

    /// <summary>Folder for what a user's programs can make again.</summary>
    public string? UserCache => Get("XDG_CACHE_HOME") ?? (Get("HOME") is { } user ? Path.Combine(user, ".cache") : null);

    /// <summary>The environment of this process.</summary>
    public static ProcessEnvironment Read()
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (DictionaryEntry entry in Environment.GetEnvironmentVariables())
            variables[(string)entry.Key] = (string?)entry.Value ?? "";
        return new ProcessEnvironment { Variables = variables };
    }

    private string? InHubHome(string name) =>
        Get("HF_HOME") is { } home ? Path.Combine(home, name) : Get("HOME") is { } user ? Path.Combine(user, ".cache", "huggingface", name) : null;

    private string? Get(string name) => Variables.TryGetValue(name, out string? value) && value.Length > 0 ? value : null;
}
