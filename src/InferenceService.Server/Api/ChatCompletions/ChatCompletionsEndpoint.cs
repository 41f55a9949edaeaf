using InferenceService.Engine.Sampling;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary><c>POST /v1/chat/completions</c>: the assistant's next message in a conversation.</summary>
internal sealed class ChatCompletionsEndpoint(
    RequestReader requests, LimitOptions limits, StreamingOptions streaming, UnknownFields unknown, RequestTerms terms, AnswerSender sender, TimeProvider time)
{
    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        if (await requests.ReadAsync(http, (json, model) => Read(http, json, model)) is not { } read)
            return;
        (ChatCompletionRequest request, GenerationOrder order) = read.Content;
        AnswerHead head = AnswerHead.New("chatcmpl-", request.Generation, read.Name, read.Model, time);
        AnswerOptions options = AnswerOptions.From(request.Generation, request.TopLogprobs, streaming, read.Model.Policies.ReportsAlways);
        var writer = new ChatCompletionWriter(head, options, order.Prompts[0]);
        await sender.SendAsync(http, AnswerKind.Chat, head, order, writer, options, request.Generation.Stream.Enabled);
    }

    /// <summary>The request and what becomes of it at the engine; problems go to the reader's list.</summary>
    internal (ChatCompletionRequest, GenerationOrder) Read(HttpContext http, FieldReader json, ServedModel model)
    {
        ChatCompletionRequest request = ChatCompletionRequest.Read(json, limits, model.Engine.Model.Config.VocabularySize);
        request = request with { Generation = terms.Apply(http, request.Generation, model, json.Problems) };
        unknown.Check(json);
        return Order(model, request, json.Problems) is { } order ? (request, order) : default;
    }

    /// <summary>The order to the engine; null when there are problems.</summary>
    private GenerationOrder? Order(ServedModel model, ChatCompletionRequest request, Problems problems)
    {
        GenerationFields fields = request.Generation;
        SamplingParams sampling = SamplingBuilder.Build(fields, model, limits, request.TopLogprobs, fields.PromptLogprobs, fields.N, prompts: 1, problems);
        if (problems.Any)
            return null;
        var builder = new PromptBuilder(model);
        if (builder.FromChat(request.Prompt, fields, problems) is not { } prompt
            || builder.Order(ref prompt, fields, sampling, fields.N, model.Defaults.MaxNewTokens, "messages", problems) is not { } order)
            return null;
        ChatMessage last = request.Prompt.Messages[^1];
        return new GenerationOrder
        {
            Prompts = [prompt],
            Requests = [order],
            ChoicesPerPrompt = fields.N,
            Timeout = fields.Timeout,
            Text = TextOptions.From(fields, keepTokens: request.TopLogprobs is not null || fields.ReturnTokenIds),
            Echoes = request.Echo && last is { Role: "assistant", Text: { } text } ? [new PromptEcho(text)] : null,
        };
    }
}
