namespace InferenceService.Server.Tests.Api;

/// <summary>Requests that use every field the routes know, each with a value that is allowed.</summary>
internal static class KnownFields
{
    private const string Common = """
        "model":"tiny","temperature":0.7,"top_p":0.9,"top_k":5,"min_p":0.01,"frequency_penalty":0.1,"presence_penalty":-0.1,"repetition_penalty":1.1,
        "logit_bias":{"70":-1.5},"allowed_token_ids":[70,71,72],"bad_words":["zz"],"seed":1,"n":2,"stop":["zzz"],"stop_token_ids":[100],
        "include_stop_str_in_output":false,"ignore_eos":true,"min_tokens":1.0,"max_tokens":3.0,"skip_special_tokens":true,
        "spaces_between_special_tokens":true,"truncate_prompt_tokens":-1,"truncation_side":"left","prompt_logprobs":1,
        "return_tokens_as_token_ids":true,"return_token_ids":true,"priority":0,"cache_salt":"s","request_id":"r-1","kv_policy":{"name":"full"},
        "kv_report":true,"timeout_ms":60000,"stream":false,"stream_options":null,"stream_interval":1,"thinking_token_budget":-1,"use_beam_search":false,
        "length_penalty":1,"response_format":{"type":"text"},"add_special_tokens":true,"echo":true,
        "user":"u","metadata":{},"store":true,"service_tier":"auto","safety_identifier":"x","prompt_cache_key":"k","prompt_cache_retention":"24h",
        "prompt_cache_options":{},"prediction":{},"verbosity":"low","parallel_tool_calls":true,"tool_choice":"none","function_call":"none",
        "modalities":["text"]
        """;

    public const string Completion = "{\"prompt\":\"Once\",\"logprobs\":1,\"best_of\":3,\"suffix\":\"\"," + Common + "}";

    public const string Chat =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"name\":\"n\"}],\"logprobs\":true,\"top_logprobs\":1,"
        + "\"max_completion_tokens\":3,\"reasoning_effort\":\"low\",\"include_reasoning\":false,\"add_generation_prompt\":true,\"continue_final_message\":false,"
        + "\"chat_template\":\"{{ messages[0].content }}\",\"chat_template_kwargs\":{\"x\":1},\"documents\":[],"
        + Common + "}";
}
