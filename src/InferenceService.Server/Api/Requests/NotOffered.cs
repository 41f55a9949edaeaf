using System.Text.Json;

namespace InferenceService.Server.Api.Requests;

/// <summary>
/// Fields that clients know from elsewhere: those that would change the answer are refused by name, never ignored;
/// those that cannot are accepted.
/// </summary>
internal static class NotOffered
{
    private static readonly (string Name, string Why)[] Refused =
    [
        ("structured_outputs", "structured output is not supported"),
        ("guided_json", "structured output is not supported"),
        ("guided_regex", "structured output is not supported"),
        ("guided_choice", "structured output is not supported"),
        ("guided_grammar", "structured output is not supported"),
        ("grammar", "structured output is not supported"),
        ("json_schema", "structured output is not supported"),
        ("regex", "structured output is not supported"),
        ("ebnf", "structured output is not supported"),
        ("tools", "tool calling is not supported"),
        ("functions", "tool calling is not supported"),
        ("audio", "this model produces text only"),
        ("web_search_options", "web search is not offered"),
        ("vllm_xargs", "there is no such extension here"),
        ("kv_transfer_params", "KV transfer is not offered"),
        ("mm_processor_kwargs", "this model reads text only"),
    ];

    private static readonly string[] WithoutEffect =
    [
        "model", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "prediction", "verbosity", "parallel_tool_calls",
    ];

    /// <summary>Checks every such field.</summary>
    public static void Check(FieldReader json)
    {
        json.Accept(WithoutEffect);
        foreach ((string name, string why) in Refused)
        {
            if (json.TryGet(name, out _))
                json.Problems.Unsupported(json.Path(name), $"{name}: {why}.");
        }

        CheckResponseFormat(json);
        CheckNone(json, "tool_choice");
        CheckNone(json, "function_call");
        CheckModalities(json);
        json.Bool("spaces_between_special_tokens");
        json.Number("length_penalty", -100, 100);
        if (json.Bool("use_beam_search") == true)
            json.Problems.Unsupported("use_beam_search", "use_beam_search: beam search is not supported.");
        if (json.Integer("thinking_token_budget", -1, int.MaxValue) >= 0)
            json.Problems.Unsupported("thinking_token_budget", "thinking_token_budget: this model's reasoning is not separated; only -1 (no budget) is possible.");
    }

    private static void CheckResponseFormat(FieldReader json)
    {
        if (json.Object("response_format") is not { } format)
            return;
        string? type = format.Text("type");
        if (type is "json_object" or "json_schema" or "structural_tag" or "grammar")
            json.Problems.Unsupported("response_format", $"response_format of type {type}: structured output is not supported.");
        else if (type is null)
            json.Problems.Missing("response_format.type");
        else if (type != "text")
            json.Problems.Invalid("response_format.type", $"response_format.type must be text, json_object or json_schema, got \"{JsonNumber.Clean(type)}\".");
    }

    private static void CheckNone(FieldReader json, string name)
    {
        if (json.TryGet(name, out JsonElement choice) && !(choice.ValueKind == JsonValueKind.String && choice.ValueEquals("none")))
            json.Problems.Unsupported(json.Path(name), $"{name}: tool calling is not supported.");
    }

    private static void CheckModalities(FieldReader json)
    {
        string[] modalities = json.Texts("modalities", 8, 32) ?? [];
        if (modalities.Any(modality => modality != "text"))
            json.Problems.Unsupported("modalities", "modalities: this model produces text only.");
    }
}
