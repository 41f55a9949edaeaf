namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>Marks a route that makes the engine work: counted in <c>/load</c>, refused while loading or draining.</summary>
internal sealed class InferenceRoute
{
    /// <summary>The mark.</summary>
    public static InferenceRoute Instance { get; } = new();
}

/// <summary>Marks a route that machines ask many times a minute whether all is well: its requests leave no spans.</summary>
internal sealed class ProbeRoute
{
    /// <summary>The mark.</summary>
    public static ProbeRoute Instance { get; } = new();
}

/// <summary>How a route says what it is.</summary>
internal static class RouteMarks
{
    /// <summary>Counts the route's requests, and refuses them with 503 while the server loads or ends.</summary>
    public static TBuilder AsInferenceRoute<TBuilder>(this TBuilder builder) where TBuilder : IEndpointConventionBuilder =>
        builder.WithMetadata(InferenceRoute.Instance);

    /// <summary>Leaves the route's requests out of traces.</summary>
    public static TBuilder AsProbe<TBuilder>(this TBuilder builder) where TBuilder : IEndpointConventionBuilder => builder.WithMetadata(ProbeRoute.Instance);
}
