using System.Text.Json;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Tokenize;
using InferenceService.Server.Generation;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>Tokenize, detokenize and render, with their answers: each body goes to all three.</summary>
internal sealed class TokenizeTarget : RequestTarget
{
    private readonly TokenizeEndpoint _tokenize;
    private readonly DetokenizeEndpoint _detokenize;
    private readonly RenderEndpoint _render;
    private int _next;

    public TokenizeTarget() : base(strict: false) =>
        (_tokenize, _detokenize, _render) = (Server.Service<TokenizeEndpoint>(), Server.Service<DetokenizeEndpoint>(), Server.Service<RenderEndpoint>());

    public override string Name => "tokenize";

    protected override IReadOnlyList<string> Bodies { get; } =
    [
        """{"model":"tiny","prompt":"Hello <|end|> wörld","add_special_tokens":true,"return_token_strs":true}""",
        """{"content":"abc"}""",
        """{"tokens":[0,1,5,6,260],"model":"tiny"}""",
        """{"messages":[{"role":"user","content":"x"}],"add_generation_prompt":true,"chat_template_kwargs":{"a":1},"return_token_strs":true}""",
    ];

    public override bool Run(byte[] input)
    {
        bool any = false;
        for (_next = 0; _next < 3; _next++)
            any |= base.Run(input);
        return any;
    }

    protected override GenerationOrder? Read(HttpContext http)
    {
        Task answer = _next switch
        {
            0 => _tokenize.HandleAsync(http),
            1 => _detokenize.HandleAsync(http),
            _ => _render.HandleAsync(http),
        };
        Require(answer.IsCompleted, "reading a body that is there has to wait");
        answer.GetAwaiter().GetResult();
        return null;
    }

    protected override void CheckAnswer(JsonElement answer)
    {
        if (answer.TryGetProperty("tokens", out JsonElement tokens))
            Require(tokens.GetArrayLength() == answer.GetProperty("count").GetInt32(), "a count that is not the tokens'");
        if (answer.TryGetProperty("token_strs", out JsonElement texts) && texts.ValueKind == JsonValueKind.Array)
            Require(texts.GetArrayLength() == tokens.GetArrayLength(), "as many texts as tokens");
    }
}
