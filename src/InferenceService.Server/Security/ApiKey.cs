namespace InferenceService.Server.Security;

/// <summary>A key that this server knows, without its text. A request that came with one has it among its features.</summary>
/// <param name="Name">How logs, metrics and admin routes call it: as configured, or <c>key-1</c>, <c>key-2</c> in the order of configuration, then key file.</param>
/// <param name="Id">SHA-256 of the key in hexadecimal: tells callers apart inside the process, never shown.</param>
/// <param name="Scopes">What it opens.</param>
internal sealed record ApiKey(string Name, string Id, ApiScope Scopes)
{
    /// <summary>Its number among the clients of the engines; 0 = there is no other key to share them with.</summary>
    public int Client { get; init; }

    /// <summary>What is due to it against the other keys.</summary>
    public double Weight { get; init; } = 1;

    /// <summary>Its name was configured, so that metrics may tell it apart.</summary>
    public bool IsNamed { get; init; }

    /// <summary>What it may use and has used.</summary>
    public required KeyAccount Account { get; init; }

    /// <summary>What its requests may ask for.</summary>
    public KeyRights Rights { get; init; } = KeyRights.All;

    /// <summary>The key that let a request in; null = none was asked for.</summary>
    public static ApiKey? Of(HttpContext context) => context.Features.Get<ApiKey>();

    /// <summary>Records compare by value and print all they hold; this one prints its name.</summary>
    public override string ToString() => Name;
}
