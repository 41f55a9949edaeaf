using System.Text.Json;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary><c>POST /v1/chat/completions/render</c>: the prompt a conversation becomes, as text and ids, without generating anything.</summary>
internal sealed class RenderEndpoint(RequestReader requests, LimitOptions limits, UnknownFields unknown)
{
    private static readonly JsonEncodedText PromptName = JsonEncodedText.Encode("prompt");

    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        if (await requests.ReadAsync(http, Read) is { } read)
            await WriteAsync(http, read.Model, read.Name, read.Content);
    }

    private Prompt? Read(FieldReader json, ServedModel model)
    {
        ChatCompletionRequest request = ChatCompletionRequest.Read(json, limits, model.Engine.Model.Config.VocabularySize);
        unknown.Check(json);
        return json.Problems.Any ? null : new PromptBuilder(model).FromChat(request.Prompt, limit: null, json.Problems);
    }

    private static Task WriteAsync(HttpContext http, ServedModel model, string name, Prompt prompt)
    {
        return JsonBody.WriteAsync(http, json =>
        {
            json.WriteStartObject();
            json.WriteString("object"u8, "chat.completion.render"u8);
            json.WriteString("model"u8, name);
            json.WriteText(PromptName, prompt.Text);
            TokenJson.WriteIds(json, "prompt_token_ids"u8, prompt.Ids);
            json.WriteNumber("count"u8, prompt.Ids.Length);
            json.WriteNumber("max_model_len"u8, model.MaxModelLength);
            json.WriteEndObject();
        });
    }
}
