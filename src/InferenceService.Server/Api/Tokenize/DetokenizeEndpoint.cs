using System.Text.Json;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Tokenize;

/// <summary><c>POST /detokenize</c>: the text of token ids, special tokens included.</summary>
internal sealed class DetokenizeEndpoint(RequestReader requests, UnknownFields unknown)
{
    /// <summary>Most ids of one request.</summary>
    internal const int MaxTokens = 4 << 20;

    private static readonly JsonEncodedText PromptName = JsonEncodedText.Encode("prompt");

    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        if (await requests.ReadAsync(http, Read) is { } read)
            await WriteAsync(http, read.Model.Tokenizer.Decode(read.Content, skipSpecialTokens: false));
    }

    private int[]? Read(FieldReader json, ServedModel model)
    {
        int[]? ids = json.TokenIds("tokens", 0, MaxTokens, model.Engine.Model.Config.VocabularySize);
        if (ids is null && !json.TryGet("tokens", out _))
            json.Problems.Missing("tokens");
        unknown.Check(json);
        return ids;
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
