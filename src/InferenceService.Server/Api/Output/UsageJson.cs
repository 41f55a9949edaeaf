using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Api.Output;

/// <summary>The <c>usage</c> object.</summary>
internal static class UsageJson
{
    private static readonly JsonEncodedText UsageName = JsonEncodedText.Encode("usage");

    /// <summary>Writes the property <c>usage</c>.</summary>
    public static void Write(Utf8JsonWriter json, TextGeneration generation, bool kvReport)
    {
        Usage usage = generation.Usage;
        json.WriteStartObject(UsageName);
        json.WriteNumber("prompt_tokens"u8, usage.Prompt);
        json.WriteNumber("completion_tokens"u8, usage.Completion);
        json.WriteNumber("total_tokens"u8, usage.Prompt + usage.Completion);
        json.WriteStartObject("prompt_tokens_details"u8);
        json.WriteNumber("cached_tokens"u8, usage.Cached);
        json.WriteEndObject();
        json.WriteStartObject("completion_tokens_details"u8);
        json.WriteNumber("reasoning_tokens"u8, 0);
        json.WriteNumber("accepted_prediction_tokens"u8, 0);
        json.WriteNumber("rejected_prediction_tokens"u8, 0);
        json.WriteEndObject();
        if (kvReport)
            WriteKvCache(json, generation.KvUsage);
        json.WriteEndObject();
    }

    /// <summary>Writes what a chunk says of the usage: nothing, null, or the tokens so far.</summary>
    public static void WriteInChunk(Utf8JsonWriter json, TextGeneration generation, AnswerOptions options)
    {
        if (options.RunningUsage)
            Write(json, generation, kvReport: false);
        else if (options.UsageChunk)
            json.WriteNull(UsageName);
    }

    private static void WriteKvCache(Utf8JsonWriter json, in KvUsage kv)
    {
        json.WriteStartObject("kv_cache"u8);
        json.WriteString("policy"u8, kv.Policy);
        json.WriteNumber("logical_tokens"u8, kv.LogicalTokens);
        json.WriteNumber("kept_tokens"u8, kv.KeptTokens);
        json.WriteNumber("bytes"u8, kv.Bytes);
        json.WriteNumber("bytes_full"u8, kv.BytesFull);
        json.WriteNumber("compression_ratio"u8, Math.Round(kv.CompressionRatio, 4));
        json.WriteEndObject();
    }
}
