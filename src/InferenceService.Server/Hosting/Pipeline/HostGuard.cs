using System.Net;
using InferenceService.Server.Api;
using InferenceService.Server.Configuration;
using InferenceService.Server.Security;

namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>
/// Refuses a foreign <c>Host</c> on a loopback address that needs no key. A web page may point a name of its own at 127.0.0.1 and then counts as
/// the same origin (DNS rebinding); what it cannot do is change the name that its browser sends.
/// </summary>
internal sealed class HostGuard(RequestDelegate next, ApiKeys keys, HttpOptions options)
{
    private static readonly ApiError Refused = new(
        403, "permission_error", "host_not_allowed", "The Host header names another machine. Call this server by its address or as localhost, or list the name in Server:AllowedHosts.");

    // Names that no public zone can hold; the last two are those of routers and of containers.
    private static readonly string[] PrivateSuffixes = ["localhost", ".localhost", ".local", ".internal"];

    /// <summary>Runs the request or answers 403.</summary>
    public Task InvokeAsync(HttpContext context)
    {
        bool guarded = !keys.Required && context.Connection.LocalIpAddress is { } address && IPAddress.IsLoopback(address);
        return guarded && !IsAllowed(context.Request.Host) ? OpenAiError.WriteAsync(context, Refused) : next(context);
    }

    private bool IsAllowed(HostString host)
    {
        string name = host.Host.TrimEnd('.');
        if (name.Length == 0 || IPAddress.TryParse(name.Trim('[', ']'), out _))
            return true;
        if (Array.Exists(PrivateSuffixes, suffix => suffix[0] == '.' ? name.EndsWith(suffix, StringComparison.OrdinalIgnoreCase) : Is(name, suffix)))
            return true;
        if (Is(name, Environment.MachineName) || (options.Host is { } bound && Is(name, bound)))
            return true;
        foreach (string allowed in options.AllowedHosts)
        {
            if (allowed == "*" || Is(name, allowed))
                return true;
        }

        return false;
    }

    private static bool Is(string name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);
}
