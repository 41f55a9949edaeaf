using System.Diagnostics.CodeAnalysis;

namespace InferenceService.Server.Hub;

/// <summary>Addresses from settings and answers that a request can go to.</summary>
internal static class HubAddress
{
    private const int LongestName = 253; // RFC 1035, 2.3.4: 255 bytes as they are sent

    /// <summary>Http or https, and a host that can have a name: of one without a name in ASCII, <see cref="Uri"/> throws wherever that is asked for.</summary>
    public static bool IsUsable([NotNullWhen(true)] Uri? address)
    {
        try
        {
            return address is { IsAbsoluteUri: true, Scheme: "http" or "https" } && address.IdnHost.Length is > 0 and <= LongestName;
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
