using InferenceService.Server.Hosting.Pipeline;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary>Routes of this folder.</summary>
internal static class ChatCompletionsRoutes
{
    /// <summary>Maps <c>/v1/chat/completions</c>, its alias without prefix, and <c>/v1/chat/completions/render</c>.</summary>
    public static void MapChatCompletions(this IEndpointRouteBuilder routes)
    {
        foreach (string path in (string[])["/v1/chat/completions", "/chat/completions"])
        {
            routes.MapPost(path, static (HttpContext http, ChatCompletionsEndpoint endpoint) => endpoint.HandleAsync(http))
                .AsInferenceRoute()
                .WithTags("Chat")
                .WithSummary("Writes the assistant's next message of a conversation, streamed or as one body.");
        }

        routes.MapPost("/v1/chat/completions/render", static (HttpContext http, RenderEndpoint endpoint) => endpoint.HandleAsync(http))
            .WithTags("Chat")
            .WithSummary("Shows the prompt that a conversation becomes, as text and token ids.");
    }
}
