using System.Text.Json;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Models;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Output;

/// <summary>The <c>usage</c> object.</summary>
internal static class UsageJson
{
    private static readonly JsonEncodedText UsageName = JsonEncodedText.Encode("usage");

    /// <summary>Writes the property <c>usage</c>.</summary>
    public static void Write(Utf8JsonWriter json, TextGeneration generation, ServedModel model, bool kvReport)
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
            WriteKvCache(json, generation, model);
        json.WriteEndObject();
    }

    /// <summary>Writes what a chunk says of the usage: nothing, null, or the tokens so far.</summary>
    public static void WriteInChunk(Utf8JsonWriter json, TextGeneration generation, ServedModel model, AnswerOptions options)
    {
        if (options.RunningUsage)
            Write(json, generation, model, kvReport: false);
        else if (options.UsageChunk)
            json.WriteNull(UsageName);
    }

    // The policy that keeps everything needs no measurement: what it keeps is what was read. Choices of one prompt share its whole blocks.
    private static void WriteKvCache(Utf8JsonWriter json, TextGeneration generation, ServedModel model)
    {
        EngineOptions engine = model.Engine.Options;
        ModelConfig config = model.Engine.Model.Config;
        long tokens = 0;
        long blocks = 0;
        foreach (ChoiceText choice in generation.Choices)
        {
            int prompt = generation.PromptLength(choice.Prompt);
            int length = prompt + Math.Max(0, choice.Generated - 1);
            int shared = choice.Number == 0 ? 0 : prompt / engine.BlockSize;
            tokens += length;
            blocks += ((length + engine.BlockSize - 1) / engine.BlockSize) - shared;
        }

        long slotBytes = 2L * config.Layers * config.KvHeads * config.HeadDim * engine.KvType.Size();
        long bytes = blocks * engine.BlockSize * slotBytes;
        json.WriteStartObject("kv_cache"u8);
        json.WriteString("policy"u8, model.KvPolicy);
        json.WriteNumber("logical_tokens"u8, tokens);
        json.WriteNumber("kept_tokens"u8, tokens);
        json.WriteNumber("bytes"u8, bytes);
        json.WriteNumber("bytes_full"u8, bytes);
        json.WriteNumber("compression_ratio"u8, 1);
        json.WriteEndObject();
    }
}
