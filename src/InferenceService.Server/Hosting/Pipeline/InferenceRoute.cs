namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>Marks a route that makes the engine work: counted in <c>/load</c>, refused while loading or draining.</summary>
internal sealed class InferenceRoute
{
    /// <summary>The mark.</summary>
    public static InferenceRoute Instance { get; } = new();
}

/// <summary>How a route says what it is.</summary>
internal static class RouteMarks
{
    /// <summary>Counts the route's requests, and refuses them with 503 while the server loads or ends.</summary>
    public static TBuilder AsInferenceRoute<TBuilder>(this TBuilder builder) where TBuilder : IEndpointConventionBuilder =>
        builder.WithMetadata(InferenceRoute.Instance);
}
