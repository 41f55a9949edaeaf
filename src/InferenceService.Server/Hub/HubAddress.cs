using System.Diagnostics.CodeAnalysis;

namespace InferenceService.Server.Hub;

/// <summary>Addresses from settings and answers that a request can go to.</summary>
internal static class HubAddress
{
    /// <summary>Http or https, and a host that has a name in ASCII: of one without, <see cref="Uri"/> throws wherever that name is asked for.</summary>
    public static bool IsUsable([NotNullWhen(true)] Uri? address)
    {
        try
        {
            return address is { IsAbsoluteUri: true, Scheme: "http" or "https" } && address.IdnHost.Length > 0;
        }
        catch (UriFormatException)
        {
            return false;
        }
    }

    /// <summary>Where an answer from there leads; null = nowhere.</summary>
    public static Uri? Follow(Uri from, string? location) => location is not null && Uri.TryCreate(from, location, out Uri? next) && IsUsable(next) ? next : null;

    /// <summary>Scheme, host and port of two usable addresses are equal.</summary>
    public static bool IsSameOrigin(Uri one, Uri other) =>
        one.Scheme == other.Scheme && one.Port == other.Port && string.Equals(one.IdnHost, other.IdnHost, StringComparison.OrdinalIgnoreCase);
}
