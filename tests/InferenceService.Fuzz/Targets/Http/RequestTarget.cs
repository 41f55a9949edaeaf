using System.Text;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Fuzz.Loop;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>A request with a JSON body, read by its route's own readers; what they accept is held against what the engine takes.</summary>
/// <param name="strict">Fields that no reader knows are refused.</param>
internal abstract class RequestTarget(bool strict) : FuzzTarget
{
    private const int SubmitEvery = 256;
    private int _accepted;

    protected ServerHarness Server { get; } = new(strict);

    /// <summary>Bodies of requests that are fine.</summary>
    protected abstract IReadOnlyList<string> Bodies { get; }

    /// <summary>Reads the request and answers, or returns the order that it became.</summary>
    protected abstract GenerationOrder? Read(HttpContext http);

    /// <summary>What the route answers with 200 itself.</summary>
    protected virtual void CheckAnswer(JsonElement answer)
    {
    }

    public override IReadOnlyList<string> Words =>
    [
        "content-type: application/json\n", "content-type: application/json; charset=utf-8\n", "content-encoding: gzip\n", "x-inference-kv-policy: streaming-llm\n", "x-inference-kv-policy: h2o\n", "x-inference-timeout-ms: 1000\n", "x-inference-timeout-ms: 99999999999999999999\n", "x-inference-timeout-ms: -1\n", "system", "user", "assistant", "tool",
        "developer", "text", "image_url", "refusal", "tiny", "other", "streaming-llm", "h2o", "tova", "snapkv", "full", "left", "right", "none", "high", "json_object", "<|end|>", "<|user|>",
    ];

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (string body in Bodies)
        {
            yield return Encoding.UTF8.GetBytes(body);
            yield return Sections.Join("Content-Type: application/json\nx-inference-kv-policy: streaming-llm\nx-inference-timeout-ms: 5000\n", body);
        }
    }

    public override long MaxAllocated(int length) => (256 << 10) + (1024L * length);

    public override bool Run(byte[] input)
    {
        HttpContext http = Server.Request(input);
        if (Read(http) is { } order)
        {
            CheckOrder(order);
            return true;
        }

        AnswerRules.Check(http, Server.Answer, out JsonElement answer);
        if (http.Response.StatusCode == 200)
            CheckAnswer(answer);
        return http.Response.StatusCode == 200;
    }

    protected override void Dispose(bool disposing)
    {
        Server.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Reads through the reader that every route begins with.</summary>
    protected GenerationOrder? Read<T>(HttpContext http, Func<FieldReader, ServedModel, (T, GenerationOrder)> read)
    {
        ValueTask<ReadRequest<(T, GenerationOrder)>?> reading = new(Server.Service<RequestReader>().ReadAsync(http, read));
        Require(reading.IsCompleted, "reading a body that is there has to wait");
        return reading.GetAwaiter().GetResult()?.Content.Item2;
    }

    private void CheckOrder(GenerationOrder order)
    {
        ServedModel model = Server.Model;
        Require(order.Prompts.Count > 0 && order.Requests.Count == order.Prompts.Count, "an order without prompts");
        foreach (GenerationRequest request in order.Requests)
        {
            Require(request.PromptTokens.Length > 0 && request.MaxTokens >= 0, "an order for less than nothing");
            Require((long)request.PromptTokens.Length + request.MaxTokens <= model.MaxModelLength, "an order beyond the context");
            foreach (int id in request.PromptTokens.Span)
                Require((uint)id < (uint)model.Engine.Model.Config.VocabularySize, "a prompt with an unknown id");
        }

        if (_accepted++ % SubmitEvery != 0)
            return;
        // The engine throws at an order that no reader should let through.
        GenerationStream[] streams = Admission.Submit(model.Engine, order.Requests, new AdmissionOptions(), "prompt", out Server.Api.ApiError? refusal);
        Require(refusal is null or { Status: 400 or 503 or 429 }, $"the engine refuses with status {refusal?.Status}");
        foreach (GenerationStream stream in streams)
            stream.Cancel();
    }
}
