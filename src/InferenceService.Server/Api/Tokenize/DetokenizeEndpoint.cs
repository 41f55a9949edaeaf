using System.Text.Json;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Tokenize;

/// <summary><c>POST /detokenize</c>: the text of token ids, special tokens included.</summary>
internal sealed class DetokenizeEndpoint(IModelCatalog models, LimitOptions limits, UnknownFields unknown, Refusals refusals)
{
    /// <summary>Most ids of one request.</summary>
    internal const int MaxTokens = 4 << 20;

    private static readonly JsonEncodedText PromptName = JsonEncodedText.Encode("prompt");

    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        using RequestBody body = await RequestBody.ReadAsync(http.Request, limits, http.RequestAborted);
        ApiError? error = body.Error;
        if (error is null)
        {
            var json = new FieldReader(body.Root, "", new Problems());
            if (ModelField.TryFind(json, models, out ServedModel? model, out _, out error))
            {
                int[]? ids = json.TokenIds("tokens", 0, MaxTokens, model.Engine.Model.Config.VocabularySize);
                if (ids is null && !json.TryGet("tokens", out _))
                    json.Problems.Missing("tokens");
                unknown.Check(json);
                error = json.Problems.ToError();
                if (error is null)
                {
                    await WriteAsync(http, model.Tokenizer.Decode(ids, skipSpecialTokens: false));
                    return;
                }
            }
        }

        await refusals.WriteAsync(http, error!);
    }

    private static Task WriteAsync(HttpContext http, string text)
    {
        return JsonBody.WriteAsync(http, json =>
        {
            json.WriteStartObject();
            json.WriteText(PromptName, text);
            json.WriteEndObject();
        });
    }
}
