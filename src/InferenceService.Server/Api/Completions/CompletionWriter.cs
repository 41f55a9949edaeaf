using System.Text.Json;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Generation;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Api.Completions;

/// <summary>Answers of <c>/v1/completions</c>; chunks and bodies have the same shape.</summary>
/// <param name="returned">Choices returned per prompt; fewer than generated when the best of several are asked for.</param>
internal sealed class CompletionWriter(AnswerHead head, AnswerOptions options, IReadOnlyList<Prompt> prompts, int returned) : IAnswerWriter
{
    private static readonly JsonEncodedText TextName = JsonEncodedText.Encode("text");
    private readonly JsonEncodedText _id = OpenAiJson.Encode(head.Id);
    private readonly JsonEncodedText _model = OpenAiJson.Encode(head.Model);
    private readonly Tokenizer _tokenizer = head.Served.Tokenizer;
    private readonly HashSet<int> _idsSent = [];

    /// <inheritdoc/>
    public bool HasOpening => false;

    /// <inheritdoc/>
    public void WriteOpening(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice) =>
        throw new InvalidOperationException("Completions have no opening chunk.");

    /// <inheritdoc/>
    public void WriteDelta(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice) => WriteChunk(json, generation, choice, choice.Text.Span, ended: false);

    /// <inheritdoc/>
    public void WriteFinish(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice) => WriteChunk(json, generation, choice, "", ended: true);

    /// <inheritdoc/>
    public void WriteUsage(Utf8JsonWriter json, TextGeneration generation)
    {
        WriteHead(json);
        json.WriteEndArray();
        UsageJson.Write(json, generation, options.KvReport);
        json.WriteEndObject();
    }

    /// <inheritdoc/>
    public void WriteWhole(Utf8JsonWriter json, TextGeneration generation)
    {
        WriteHead(json);
        foreach (ChoiceText choice in BestChoices.Pick(generation.Choices, returned))
        {
            WriteChoice(json, choice, choice.Text.Span, ended: true, withPromptIds: true);
            if (options.PromptLogprobs)
                TokenJson.WritePrompt(json, _tokenizer, prompts[choice.Prompt].Ids, generation.PromptLogprobs(choice.Prompt));
            json.WriteEndObject();
        }

        json.WriteEndArray();
        UsageJson.Write(json, generation, options.KvReport);
        json.WriteEndObject();
    }

    private void WriteChunk(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice, ReadOnlySpan<char> text, bool ended)
    {
        WriteHead(json);
        WriteChoice(json, choice, text, ended, withPromptIds: options.ReturnTokenIds && _idsSent.Add(choice.Index));
        json.WriteEndObject();
        json.WriteEndArray();
        UsageJson.WriteInChunk(json, generation, options);
        json.WriteEndObject();
    }

    private void WriteHead(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, _id);
        json.WriteString("object"u8, "text_completion"u8);
        json.WriteNumber("created"u8, head.Created);
        json.WriteString("model"u8, _model);
        json.WriteString("system_fingerprint"u8, head.SystemFingerprint);
        json.WriteStartArray("choices"u8);
    }

    // Leaves the choice's object open.
    private void WriteChoice(Utf8JsonWriter json, ChoiceText choice, ReadOnlySpan<char> text, bool ended, bool withPromptIds)
    {
        json.WriteStartObject();
        json.WriteNumber("index"u8, choice.Index);
        json.WriteText(TextName, text);
        if (options.Logprobs is { } alternatives && choice.Tokens.Count > 0)
            CompletionLogprobs.Write(json, choice.Tokens, alternatives, _tokenizer, options.TokensAsIds);
        else
            json.WriteNull("logprobs"u8);
        if (ended)
            FinishJson.Write(json, choice);
        else
            json.WriteNull("finish_reason"u8);
        if (!options.ReturnTokenIds)
            return;
        json.WriteStartArray("token_ids"u8);
        foreach (TokenEntry token in choice.Tokens)
        {
            if (!token.IsPrompt)
                json.WriteNumberValue(token.Id);
        }

        json.WriteEndArray();
        if (withPromptIds)
            TokenJson.WriteIds(json, "prompt_token_ids"u8, prompts[choice.Prompt].Ids);
    }
}
