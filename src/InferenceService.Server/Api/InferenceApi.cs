using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Completions;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Api.Tokenize;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Api;

/// <summary>What the inference routes are made of.</summary>
internal static class InferenceApi
{
    /// <summary>
    /// Registers the endpoints behind <c>MapCompletions</c>, <c>MapChatCompletions</c> and <c>MapTokenize</c>. They need an
    /// <c>IModelCatalog</c>, the limit, streaming and admission options, <c>InferenceMetrics</c>, <c>ServerLifecycle</c> and a clock.
    /// </summary>
    public static IServiceCollection AddInferenceApi(this IServiceCollection services) => services
        .AddSingleton<UnknownFields>()
        .AddSingleton<Refusals>()
        .AddSingleton<BodyReader>()
        .AddSingleton<RequestReader>()
        .AddSingleton<RequestTerms>()
        .AddSingleton<ActiveRequests>()
        .AddSingleton<AnswerSender>()
        .AddSingleton<CompletionsEndpoint>()
        .AddSingleton<ChatCompletionsEndpoint>()
        .AddSingleton<RenderEndpoint>()
        .AddSingleton<TokenizeEndpoint>()
        .AddSingleton<DetokenizeEndpoint>();
}
