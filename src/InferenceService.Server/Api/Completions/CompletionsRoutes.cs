using InferenceService.Server.Hosting.Pipeline;

namespace InferenceService.Server.Api.Completions;

/// <summary>Routes of this folder.</summary>
internal static class CompletionsRoutes
{
    /// <summary>Maps <c>/v1/completions</c> and its alias without prefix.</summary>
    public static void MapCompletions(this IEndpointRouteBuilder routes)
    {
        foreach (string path in (string[])["/v1/completions", "/completions"])
        {
            routes.MapPost(path, static (HttpContext http, CompletionsEndpoint endpoint) => endpoint.HandleAsync(http))
                .AsInferenceRoute()
                .WithTags("Completions")
                .WithSummary("Continues one or more prompts, streamed or as one body.");
        }
    }
}
