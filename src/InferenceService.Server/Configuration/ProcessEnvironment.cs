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
    public string? HubCache =>
        Get("HF_HUB_CACHE")
        ?? (Get("HF_HOME") is { } home ? Path.Combine(home, "hub") : null)
        ?? (Get("HOME") is { } user ? Path.Combine(user, ".cache", "huggingface", "hub") : null);

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

    private string? Get(string name) => Variables.TryGetValue(name, out string? value) && value.Length > 0 ? value : null;
}
