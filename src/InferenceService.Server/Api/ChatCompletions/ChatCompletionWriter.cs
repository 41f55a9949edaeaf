using System.Text.Json;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Generation;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Api.ChatCompletions;

/// <summary>Answers of <c>/v1/chat/completions</c>.</summary>
internal sealed class ChatCompletionWriter(AnswerHead head, AnswerOptions options, Prompt prompt) : IAnswerWriter
{
    private static readonly JsonEncodedText Content = JsonEncodedText.Encode("content");
    private readonly JsonEncodedText _id = OpenAiJson.Encode(head.Id);
    private readonly JsonEncodedText _model = OpenAiJson.Encode(head.Model);
    private readonly Tokenizer _tokenizer = head.Served.Tokenizer;

    /// <inheritdoc/>
    public bool HasOpening => true;

    /// <inheritdoc/>
    public void WriteOpening(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice)
    {
        BeginChunk(json, choice.Index);
        json.WriteStartObject("delta"u8);
        json.WriteString("role"u8, "assistant"u8);
        json.WriteString(Content, ""u8);
        json.WriteEndObject();
        json.WriteNull("logprobs"u8);
        json.WriteNull("finish_reason"u8);
        EndChunk(json, generation, withPromptIds: choice.Index == 0);
    }

    /// <inheritdoc/>
    public void WriteDelta(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice)
    {
        BeginChunk(json, choice.Index);
        json.WriteStartObject("delta"u8);
        json.WriteText(Content, choice.Text.Span);
        json.WriteEndObject();
        WriteTokens(json, choice);
        json.WriteNull("finish_reason"u8);
        EndChunk(json, generation, withPromptIds: false);
    }

    /// <inheritdoc/>
    public void WriteFinish(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice)
    {
        BeginChunk(json, choice.Index);
        json.WriteStartObject("delta"u8);
        json.WriteEndObject();
        WriteTokens(json, choice);
        FinishJson.Write(json, choice);
        EndChunk(json, generation, withPromptIds: false);
    }

    /// <inheritdoc/>
    public void WriteUsage(Utf8JsonWriter json, TextGeneration generation)
    {
        WriteHead(json, "chat.completion.chunk"u8);
        json.WriteStartArray("choices"u8);
        json.WriteEndArray();
        UsageJson.Write(json, generation, options.KvReport);
        json.WriteEndObject();
    }

    /// <inheritdoc/>
    public void WriteWhole(Utf8JsonWriter json, TextGeneration generation)
    {
        WriteHead(json, "chat.completion"u8);
        json.WriteStartArray("choices"u8);
        foreach (ChoiceText choice in generation.Choices)
        {
            json.WriteStartObject();
            json.WriteNumber("index"u8, choice.Index);
            json.WriteStartObject("message"u8);
            json.WriteString("role"u8, "assistant"u8);
            json.WriteText(Content, choice.Text.Span);
            json.WriteNull("refusal"u8);
            json.WriteEndObject();
            WriteTokens(json, choice);
            FinishJson.Write(json, choice);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        UsageJson.Write(json, generation, options.KvReport);
        json.WriteNull("service_tier"u8);
        if (options.PromptLogprobs)
            TokenJson.WritePrompt(json, _tokenizer, prompt.Ids, generation.PromptLogprobs(0));
        if (options.ReturnTokenIds)
            TokenJson.WriteIds(json, "prompt_token_ids"u8, prompt.Ids);
        json.WriteEndObject();
    }

    private void BeginChunk(Utf8JsonWriter json, int index)
    {
        WriteHead(json, "chat.completion.chunk"u8);
        json.WriteStartArray("choices"u8);
        json.WriteStartObject();
        json.WriteNumber("index"u8, index);
    }

    private void EndChunk(Utf8JsonWriter json, TextGeneration generation, bool withPromptIds)
    {
        json.WriteEndObject();
        json.WriteEndArray();
        UsageJson.WriteInChunk(json, generation, options);
        if (withPromptIds && options.ReturnTokenIds)
            TokenJson.WriteIds(json, "prompt_token_ids"u8, prompt.Ids);
        json.WriteEndObject();
    }

    private void WriteHead(Utf8JsonWriter json, ReadOnlySpan<byte> kind)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, _id);
        json.WriteString("object"u8, kind);
        json.WriteNumber("created"u8, head.Created);
        json.WriteString("model"u8, _model);
        json.WriteString("system_fingerprint"u8, head.SystemFingerprint);
    }

    private void WriteTokens(Utf8JsonWriter json, ChoiceText choice)
    {
        if (options.Logprobs is not { } alternatives || choice.Tokens.Count == 0)
        {
            json.WriteNull("logprobs"u8);
        }
        else
        {
            json.WriteStartObject("logprobs"u8);
            json.WriteStartArray(Content);
            foreach (TokenEntry token in choice.Tokens)
                WriteToken(json, token, alternatives);
            json.WriteEndArray();
            json.WriteNull("refusal"u8);
            json.WriteEndObject();
        }

        if (!options.ReturnTokenIds)
            return;
        json.WriteStartArray("token_ids"u8);
        foreach (TokenEntry token in choice.Tokens)
            json.WriteNumberValue(token.Id);
        json.WriteEndArray();
    }

    private void WriteToken(Utf8JsonWriter json, TokenEntry token, int alternatives)
    {
        json.WriteStartObject();
        WriteAlternative(json, token.Id, token.Logprobs?.Logprob ?? float.NaN);
        json.WriteStartArray("top_logprobs"u8);
        int count = Math.Min(alternatives, token.Logprobs?.TopIds.Length ?? 0);
        for (int i = 0; i < count; i++)
        {
            json.WriteStartObject();
            WriteAlternative(json, token.Logprobs!.TopIds[i], token.Logprobs.TopLogprobs[i]);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private void WriteAlternative(Utf8JsonWriter json, int id, float logprob)
    {
        json.WriteText(TokenName, TokenJson.Show(_tokenizer, id, options.TokensAsIds));
        json.WritePropertyName("logprob"u8);
        TokenJson.WriteLogprob(json, logprob);
        json.WriteStartArray("bytes"u8);
        foreach (byte value in _tokenizer.TokenBytes(id))
            json.WriteNumberValue(value);
        json.WriteEndArray();
    }

    private static readonly JsonEncodedText TokenName = JsonEncodedText.Encode("token");
}
