using System.Globalization;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Api.Output;

/// <summary>Tokens and their log-probabilities, as JSON shows them.</summary>
internal static class TokenJson
{
    /// <summary>Stands for a log-probability that is not a finite number.</summary>
    internal const double NotFinite = -9999.0;

    private static readonly JsonEncodedText DecodedToken = JsonEncodedText.Encode("decoded_token");

    /// <summary>A token as a string.</summary>
    public static string Show(Tokenizer tokenizer, int id, bool asId) =>
        asId ? "token_id:" + id.ToString(CultureInfo.InvariantCulture) : tokenizer.TokenText(id);

    /// <summary>Writes a log-probability value.</summary>
    public static void WriteLogprob(Utf8JsonWriter json, float logprob)
    {
        if (float.IsFinite(logprob))
            json.WriteNumberValue(logprob);
        else
            json.WriteNumberValue(NotFinite);
    }

    /// <summary>Writes the property <c>prompt_logprobs</c>: per position null or a map from token id to log-probability, rank and text.</summary>
    public static void WritePrompt(Utf8JsonWriter json, Tokenizer tokenizer, int[] ids, IReadOnlyList<TokenLogprobs?>? logprobs)
    {
        json.WriteStartArray("prompt_logprobs"u8);
        for (int i = 0; i < ids.Length; i++)
        {
            if (i >= logprobs?.Count || logprobs?[i] is not { } position)
            {
                json.WriteNullValue();
                continue;
            }

            json.WriteStartObject();
            int rank = Array.IndexOf(position.TopIds, ids[i]) + 1;
            WriteAlternative(json, tokenizer, ids[i], position.Logprob, rank);
            for (int k = 0; k < position.TopIds.Length; k++)
            {
                if (position.TopIds[k] != ids[i])
                    WriteAlternative(json, tokenizer, position.TopIds[k], position.TopLogprobs[k], k + 1);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Writes an array of ids.</summary>
    public static void WriteIds(Utf8JsonWriter json, ReadOnlySpan<byte> name, ReadOnlySpan<int> ids)
    {
        json.WriteStartArray(name);
        foreach (int id in ids)
            json.WriteNumberValue(id);
        json.WriteEndArray();
    }

    // A token outside the most likely ones has no known rank.
    private static void WriteAlternative(Utf8JsonWriter json, Tokenizer tokenizer, int id, float logprob, int rank)
    {
        json.WriteStartObject(id.ToString(CultureInfo.InvariantCulture));
        json.WritePropertyName("logprob"u8);
        WriteLogprob(json, logprob);
        if (rank > 0)
            json.WriteNumber("rank"u8, rank);
        else
            json.WriteNull("rank"u8);
        json.WriteText(DecodedToken, tokenizer.TokenText(id));
        json.WriteEndObject();
    }
}
