namespace InferenceService.Server.Api.Tokenize;

/// <summary>Routes of this folder.</summary>
internal static class TokenizeRoutes
{
    /// <summary>Maps <c>/tokenize</c> and <c>/detokenize</c>, both also under <c>/v1</c>.</summary>
    public static void MapTokenize(this IEndpointRouteBuilder routes)
    {
        foreach (string prefix in (string[])["", "/v1"])
        {
            routes.MapPost(prefix + "/tokenize", static (HttpContext http, TokenizeEndpoint endpoint) => endpoint.HandleAsync(http))
                .WithTags("Tokenize")
                .WithSummary("Token ids of a text or a conversation.");
            routes.MapPost(prefix + "/detokenize", static (HttpContext http, DetokenizeEndpoint endpoint) => endpoint.HandleAsync(http))
                .WithTags("Tokenize")
                .WithSummary("Text of token ids.");
        }
    }
}
