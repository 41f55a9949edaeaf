using InferenceService.Server.Api.Output;
using InferenceService.Server.Hosting.Pipeline;

namespace InferenceService.Server.Api.Responses;

/// <summary>Routes of this folder.</summary>
internal static class ResponsesRoutes
{
    private static readonly ApiError NotSupported = new(
        400, "invalid_request_error", "unsupported_parameter", "The Responses API is not supported; use /v1/chat/completions.");

    /// <summary>Maps <c>/v1/responses</c>: refused by name, so that a client does not take it for a wrong base address.</summary>
    public static void MapResponses(this IEndpointRouteBuilder routes) =>
        routes.MapPost("/v1/responses", static (HttpContext http, Refusals refusals) => refusals.WriteAsync(http, NotSupported))
            .AsInferenceRoute()
            .ExcludeFromDescription();
}
