using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Generation;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Api.Completions;

/// <summary>The <c>logprobs</c> object of completions: parallel arrays of tokens, log-probabilities, alternatives and offsets.</summary>
internal static class CompletionLogprobs
{
    private static readonly JsonEncodedText Logprobs = JsonEncodedText.Encode("logprobs");

    /// <summary>Writes the property <c>logprobs</c>.</summary>
    /// <param name="alternatives">Most likely tokens per position; the chosen one is added when it is not among them.</param>
    public static void Write(Utf8JsonWriter json, IReadOnlyList<TokenEntry> tokens, int alternatives, Tokenizer tokenizer, bool asIds)
    {
        json.WriteStartObject(Logprobs);
        json.WriteStartArray("tokens"u8);
        foreach (TokenEntry token in tokens)
            json.WriteTextValue(TokenJson.Show(tokenizer, token.Id, asIds));
        json.WriteEndArray();
        json.WriteStartArray("token_logprobs"u8);
        foreach (TokenEntry token in tokens)
        {
            if (token.Logprobs is { } logprobs)
                TokenJson.WriteLogprob(json, logprobs.Logprob);
            else
                json.WriteNullValue();
        }

        json.WriteEndArray();
        json.WriteStartArray("top_logprobs"u8);
        var names = new List<string>(alternatives + 1);
        foreach (TokenEntry token in tokens)
        {
            if (token.Logprobs is { } logprobs)
                WriteMap(json, token.Id, logprobs, alternatives, tokenizer, asIds, names);
            else
                json.WriteNullValue();
        }

        json.WriteEndArray();
        json.WriteStartArray("text_offset"u8);
        foreach (TokenEntry token in tokens)
            json.WriteNumberValue(token.Offset);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    // Two tokens may have one text: the likelier keeps the key, since a JSON object holds each name once.
    private static void WriteMap(Utf8JsonWriter json, int id, TokenLogprobs logprobs, int alternatives, Tokenizer tokenizer, bool asIds, List<string> names)
    {
        names.Clear();
        json.WriteStartObject();
        bool chosenWritten = false;
        int count = Math.Min(alternatives, logprobs.TopIds.Length);
        for (int i = 0; i < count; i++)
        {
            chosenWritten |= logprobs.TopIds[i] == id;
            WriteEntry(json, TokenJson.Show(tokenizer, logprobs.TopIds[i], asIds), logprobs.TopLogprobs[i], names);
        }

        if (!chosenWritten)
            WriteEntry(json, TokenJson.Show(tokenizer, id, asIds), logprobs.Logprob, names);
        json.WriteEndObject();
    }

    private static void WriteEntry(Utf8JsonWriter json, string name, float logprob, List<string> names)
    {
        if (names.Contains(name))
            return;
        names.Add(name);
        json.WritePropertyName(name);
        TokenJson.WriteLogprob(json, logprob);
    }
}
