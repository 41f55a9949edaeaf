namespace InferenceService.Server.Security;

/// <summary>A key that this server knows, without its text. A request that came with one has it among its features.</summary>
/// <param name="Name">How logs and admin routes call it: <c>key-1</c>, <c>key-2</c> in the order of configuration, then key file.</param>
/// <param name="Id">SHA-256 of the key in hexadecimal: tells callers apart inside the process, never shown.</param>
/// <param name="Scopes">What it opens.</param>
internal sealed record ApiKey(string Name, string Id, ApiScope Scopes)
{
    /// <summary>The key that let a request in; null = none was asked for.</summary>
    public static ApiKey? Of(HttpContext context) => context.Features.Get<ApiKey>();

    /// <summary>Records compare by value and print all they hold; this one prints its name.</summary>
    public override string ToString() => Name;
}
