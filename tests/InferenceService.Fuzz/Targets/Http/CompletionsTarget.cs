using InferenceService.Server.Api.Completions;
using InferenceService.Server.Generation;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary><c>POST /v1/completions</c> up to the engine's door.</summary>
internal sealed class CompletionsTarget : RequestTarget
{
    private readonly CompletionsEndpoint _endpoint;

    public CompletionsTarget() : base(strict: true) => _endpoint = Server.Service<CompletionsEndpoint>();

    public override string Name => "completions";

    protected override IReadOnlyList<string> Bodies { get; } =
    [
        """{"model":"tiny","prompt":"Once upon a time","max_tokens":8,"temperature":0,"stop":"\n","echo":true,"logprobs":2,"n":2,"best_of":3,"suffix":""}""",
        """{"prompt":["a","b"],"stream":true,"stream_options":{"include_usage":true},"logit_bias":{"10":5},"seed":-1,"top_k":-1,"kv_policy":{"name":"snapkv","budget":64},"add_special_tokens":false}""",
        """{"prompt":"a","timeout_ms":2500,"use_beam_search":false,"length_penalty":1,"spaces_between_special_tokens":true,"stream_interval":2}""",
        """{"prompt":[5,6,7],"max_tokens":0,"echo":true,"prompt_logprobs":2}""",
        """{"prompt":[[5,6],[7]],"truncate_prompt_tokens":-1,"user":"u","presence_penalty":0.5}""",
    ];

    protected override GenerationOrder? Read(HttpContext http) => Read<CompletionRequest>(http, (json, model) => _endpoint.Read(http, json, model));
}
