using System.Text.Json;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary><c>POST /v1/chat/completions/render</c>: the prompt a conversation becomes, as text and ids, without generating anything.</summary>
internal sealed class RenderEndpoint(IModelCatalog models, LimitOptions limits, UnknownFields unknown, Refusals refusals)
{
    private static readonly JsonEncodedText PromptName = JsonEncodedText.Encode("prompt");

    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        using RequestBody body = await RequestBody.ReadAsync(http.Request, limits, http.RequestAborted);
        ApiError? error = body.Error;
        if (error is null)
        {
            var json = new FieldReader(body.Root, "", new Problems());
            if (ModelField.TryFind(json, models, out ServedModel? model, out string name, out error))
            {
                ChatCompletionRequest request = ChatCompletionRequest.Read(json, limits, model.Engine.Model.Config.VocabularySize);
                unknown.Check(json);
                Prompt? prompt = json.Problems.Any ? null : new PromptBuilder(model).FromChat(request.Prompt, json.Problems);
                error = json.Problems.ToError();
                if (prompt is not null)
                {
                    await WriteAsync(http, model, name, prompt);
                    return;
                }
            }
        }

        await refusals.WriteAsync(http, error!);
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
