using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Generation;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary><c>POST /v1/chat/completions</c> up to the engine's door.</summary>
internal sealed class ChatTarget : RequestTarget
{
    private readonly ChatCompletionsEndpoint _endpoint;

    public ChatTarget() : base(strict: false) => _endpoint = Server.Service<ChatCompletionsEndpoint>();

    public override string Name => "chat";

    protected override IReadOnlyList<string> Bodies { get; } =
    [
        """{"model":"tiny","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi","name":"ann"},{"role":"assistant","content":"Hello","refusal":null},{"role":"user","content":[{"type":"text","text":"a"},{"type":"input_text","text":"b"}]}],"max_completion_tokens":16,"temperature":0.7,"top_p":0.9,"n":2,"stop":["\n","END"],"seed":7}""",
        """{"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"logprobs":true,"top_logprobs":3,"logit_bias":{"5":-100,"6":1.5},"frequency_penalty":1,"presence_penalty":-1,"repetition_penalty":1.1,"top_k":40,"min_p":0.1,"min_tokens":1,"max_tokens":4,"stop_token_ids":[1,2],"ignore_eos":true,"bad_words":["bad"],"allowed_token_ids":[5,6,7,8],"skip_special_tokens":false,"include_stop_str_in_output":true,"priority":-1,"cache_salt":"s","request_id":"r1","kv_policy":{"name":"streaming-llm","recent_tokens":64},"kv_report":true}""",
        """{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","content":"ok","tool_call_id":"c1"}],"chat_template_kwargs":{"enable_thinking":false,"x":[1,{"y":2}]},"documents":[{"title":"t","text":"d"}],"reasoning_effort":"none","truncate_prompt_tokens":8,"truncation_side":"right","return_token_ids":true,"return_tokens_as_token_ids":true,"prompt_logprobs":1,"echo":true,"continue_final_message":true,"add_generation_prompt":false,"add_special_tokens":true,"user":"u","metadata":{"k":"v"},"store":false,"tools":[],"tool_choice":"none","response_format":{"type":"text"},"parallel_tool_calls":true,"service_tier":"auto","modalities":["text"],"stream_interval":4,"include_reasoning":true}""",
        """{"messages":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}],"kv_policy":"h2o","response_format":{"type":"json_object"},"chat_template":"{{ 1 }}"}""",
    ];

    protected override GenerationOrder? Read(HttpContext http) => Read<ChatCompletionRequest>(http, (json, model) => _endpoint.Read(http, json, model));
}
