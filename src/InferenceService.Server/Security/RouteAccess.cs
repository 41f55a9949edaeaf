namespace InferenceService.Server.Security;

/// <summary>What a route asks of its caller. A route without it asks for <see cref="ApiScope.Inference"/>: closed by default.</summary>
/// <param name="Scope">Needed scope; <see cref="ApiScope.None"/> opens the route to everybody.</param>
internal sealed record RouteAccess(ApiScope Scope)
{
    /// <summary>Needs no key: probes and version.</summary>
    public static RouteAccess Open { get; } = new(ApiScope.None);

    /// <summary>Needs the metrics scope.</summary>
    public static RouteAccess Metrics { get; } = new(ApiScope.Metrics);

    /// <summary>Needs the admin scope.</summary>
    public static RouteAccess Admin { get; } = new(ApiScope.Admin);
}
