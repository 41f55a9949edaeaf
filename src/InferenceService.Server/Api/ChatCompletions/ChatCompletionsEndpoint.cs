using InferenceService.Engine.Sampling;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary><c>POST /v1/chat/completions</c>: the assistant's next message in a conversation.</summary>
internal sealed class ChatCompletionsEndpoint(
    IModelCatalog models, LimitOptions limits, StreamingOptions streaming, UnknownFields unknown, Refusals refusals, AnswerSender sender, TimeProvider time)
{
    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        ServedModel? model;
        string name;
        ChatCompletionRequest request;
        GenerationOrder? order;
        ApiError? error;
        using (RequestBody body = await RequestBody.ReadAsync(http.Request, limits, http.RequestAborted))
        {
            if (body.Error is { } unreadable)
            {
                await refusals.WriteAsync(http, unreadable);
                return;
            }

            var json = new FieldReader(body.Root, "", new Problems());
            if (!ModelField.TryFind(json, models, out model, out name, out error))
            {
                await refusals.WriteAsync(http, error!);
                return;
            }

            request = ChatCompletionRequest.Read(json, limits, model.Engine.Model.Config.VocabularySize);
            request = request with { Generation = KvPolicyHeader.Apply(http.Request, request.Generation, json.Problems) };
            unknown.Check(json);
            order = Order(model, request, json.Problems);
            error = json.Problems.ToError();
        }

        if (error is not null || order is null)
        {
            await refusals.WriteAsync(http, error!);
            return;
        }

        AnswerHead head = AnswerHead.New("chatcmpl-", request.Generation.RequestId, name, model, time);
        AnswerOptions options = AnswerOptions.From(request.Generation, request.TopLogprobs, streaming);
        var writer = new ChatCompletionWriter(head, options, order.Prompts[0]);
        await sender.SendAsync(http, model, order, writer, options, request.Generation.Stream.Enabled, "messages");
    }

    /// <summary>The order to the engine; null when there are problems.</summary>
    private GenerationOrder? Order(ServedModel model, ChatCompletionRequest request, Problems problems)
    {
        GenerationFields fields = request.Generation;
        SamplingParams sampling = SamplingBuilder.Build(fields, model, limits, request.TopLogprobs, fields.PromptLogprobs, fields.N, prompts: 1, problems);
        if (problems.Any)
            return null;
        var builder = new PromptBuilder(model);
        if (builder.FromChat(request.Prompt, problems) is not { } prompt
            || builder.Order(ref prompt, fields, sampling, fields.N, model.Defaults.MaxNewTokens, "messages", problems) is not { } order)
            return null;
        ChatMessage last = request.Prompt.Messages[^1];
        return new GenerationOrder
        {
            Prompts = [prompt],
            Requests = [order],
            ChoicesPerPrompt = fields.N,
            Text = TextOptions.From(fields, keepTokens: request.TopLogprobs is not null || fields.ReturnTokenIds),
            Echoes = request.Echo && last is { Role: "assistant", Text: { } text } ? [new PromptEcho(text, null)] : null,
        };
    }
}
