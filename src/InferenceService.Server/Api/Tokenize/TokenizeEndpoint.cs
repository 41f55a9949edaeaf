using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Api.Tokenize;

/// <summary><c>POST /tokenize</c>: the token ids of a text or of a conversation.</summary>
internal sealed class TokenizeEndpoint(RequestReader requests, LimitOptions limits, UnknownFields unknown)
{
    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        bool withTexts = false;
        if (await requests.ReadAsync(http, (json, model) => Read(json, model, out withTexts)) is { } read)
            await WriteAsync(http, read.Model, read.Content.Ids, withTexts);
    }

    private Prompt? Read(FieldReader json, ServedModel model, out bool withTexts)
    {
        withTexts = json.Bool("return_token_strs") ?? false;
        var builder = new PromptBuilder(model);
        if (json.TryGet("messages", out _))
        {
            if (json.TryGet("prompt", out _) || json.TryGet("content", out _))
                json.Problems.Invalid("messages", "messages cannot be combined with prompt or content.");
            if (json.TryGet("tools", out _))
                json.Problems.Unsupported("tools", "tools: tool calling is not supported.");
            ChatPromptFields chat = ChatPromptFields.Read(json, limits);
            unknown.Check(json);
            return json.Problems.Any ? null : builder.FromChat(chat, limit: null, json.Problems);
        }

        string field = json.TryGet("content", out _) && !json.TryGet("prompt", out _) ? "content" : "prompt";
        bool addSpecialTokens = json.Bool("add_special_tokens") ?? true;
        string? text = json.Text(field);
        if (text is null && !json.TryGet(field, out _))
            json.Problems.Missing("prompt");
        unknown.Check(json);
        return json.Problems.Any ? null : builder.Encode(text!, addSpecialTokens, field, json.Problems);
    }

    private static Task WriteAsync(HttpContext http, ServedModel model, int[] ids, bool withTexts)
    {
        Tokenizer tokenizer = model.Tokenizer;
        return JsonBody.WriteAsync(http, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("count"u8, ids.Length);
            json.WriteNumber("max_model_len"u8, model.MaxModelLength);
            TokenJson.WriteIds(json, "tokens"u8, ids);
            if (withTexts)
            {
                json.WriteStartArray("token_strs"u8);
                foreach (int id in ids)
                    json.WriteTextValue(tokenizer.TokenText(id));
                json.WriteEndArray();
            }
            else
            {
                json.WriteNull("token_strs"u8);
            }

            json.WriteEndObject();
        });
    }
}
