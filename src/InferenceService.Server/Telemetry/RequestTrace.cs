using System.Diagnostics;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Telemetry;

/// <summary>
/// One generation as a span below that of its HTTP request, and its stages below it: queue, prefill, decode, and each wait after a preemption. The
/// stages are made when all is over, from the engine's timestamps. Carries counts, settings and names of our own; no text of the client's but the model name, which must be one that is served.
/// </summary>
internal sealed class RequestTrace : IDisposable
{
    private const string Provider = "inference_service";

    private readonly RequestTelemetry _telemetry;
    private readonly Activity? _span;
    private readonly TagList _tags;
    private readonly bool _stream;
    private readonly long _begun;
    private readonly DateTimeOffset _begunAt;

    /// <summary>Begins now. See <see cref="RequestTelemetry.Begin"/>.</summary>
    public RequestTrace(RequestTelemetry telemetry, HttpContext http, AnswerHead head, AnswerKind kind, GenerationOrder order, bool stream)
    {
        (_telemetry, _stream) = (telemetry, stream);
        (_begun, _begunAt) = (telemetry.Time.GetTimestamp(), telemetry.Time.GetUtcNow());
        _tags = new TagList
        {
            { "gen_ai.operation.name", kind.Operation },
            { "gen_ai.provider.name", Provider },
            { "gen_ai.request.model", head.Model },
            { "gen_ai.response.model", head.Served.Names[0] },
        };
        if (http.Connection.LocalIpAddress is { } address)
        {
            _tags.Add("server.address", address.ToString());
            _tags.Add("server.port", http.Connection.LocalPort);
        }

        if (telemetry.Source.HasListeners())
            _span = telemetry.Source.StartActivity($"{kind.Operation} {head.Model}", ActivityKind.Internal);
        if (_span is { IsAllDataRequested: true })
            Describe(_span, head, order);
    }

    /// <summary>The engine did not take it.</summary>
    public void Refused(ApiError error) => End(error.Code);

    /// <summary>It is over, one way or another.</summary>
    public void Ended(TextGeneration generation)
    {
        string? error = generation.IsAbandoned ? "client_disconnected" : generation.Failure?.Code;
        long first = 0;
        for (int prompt = 0; prompt < generation.Streams.Count; prompt++)
        {
            RequestTimes times = generation.Streams[prompt].Times;
            if (times.FirstToken != 0 && (first == 0 || times.FirstToken < first))
                first = times.FirstToken;
            int longest = generation.Longest(prompt);
            if (error is null && longest > 1)
                _telemetry.PerToken(_tags, Seconds(times.FirstToken, times.LastToken) / (longest - 1));
        }

        if (first != 0)
            _telemetry.FirstToken(_tags, Seconds(_begun, first));
        if (_span is { IsAllDataRequested: true })
        {
            Conclude(_span, generation, first);
            for (int prompt = 0; prompt < generation.Streams.Count; prompt++)
                AddStages(_span, generation.Streams[prompt], generation.Streams.Count > 1 ? prompt : null);
        }

        End(error);
    }

    /// <inheritdoc/>
    public void Dispose() => _span?.Dispose();

    private void Describe(Activity span, AnswerHead head, GenerationOrder order)
    {
        foreach (KeyValuePair<string, object?> tag in _tags)
            span.SetTag(tag.Key, tag.Value);
        GenerationRequest request = order.Requests[0];
        SamplingParams sampling = request.Sampling;
        span.SetTag("gen_ai.response.id", head.Id);
        span.SetTag("gen_ai.request.stream", _stream);
        span.SetTag("gen_ai.request.max_tokens", request.MaxTokens);
        span.SetTag("gen_ai.request.choice.count", order.ChoicesPerPrompt);
        span.SetTag("gen_ai.request.temperature", (double)sampling.Temperature);
        span.SetTag("gen_ai.request.top_p", (double)sampling.TopP);
        if (sampling.TopK > 0)
            span.SetTag("gen_ai.request.top_k", sampling.TopK);
        span.SetTag("gen_ai.request.frequency_penalty", (double)sampling.FrequencyPenalty);
        span.SetTag("gen_ai.request.presence_penalty", (double)sampling.PresencePenalty);
        if (sampling.Seed is { } seed)
            span.SetTag("gen_ai.request.seed", seed);
        span.SetTag("inference.kv.policy", head.Policy.Name);
        if (order.Prompts.Count > 1)
            span.SetTag("inference.prompts", order.Prompts.Count);
    }

    private void Conclude(Activity span, TextGeneration generation, long first)
    {
        Usage usage = generation.Usage;
        span.SetTag("gen_ai.usage.input_tokens", usage.Prompt);
        span.SetTag("gen_ai.usage.output_tokens", usage.Completion);
        span.SetTag("gen_ai.usage.cache_read.input_tokens", usage.Cached);
        if (generation.Choices.All(choice => choice.FinishReason is not null))
            span.SetTag("gen_ai.response.finish_reasons", generation.Choices.Select(choice => choice.FinishReason!).ToArray());
        if (_stream && first != 0)
            span.SetTag("gen_ai.response.time_to_first_chunk", Seconds(_begun, first));
        KvUsage kv = generation.KvUsage;
        if (kv.Bytes > 0)
            span.SetTag("inference.kv.ratio", kv.BytesFull / (double)kv.Bytes);
    }

    private void AddStages(Activity parent, GenerationStream stream, int? prompt)
    {
        RequestTimes times = stream.Times;
        long end = _telemetry.Time.GetTimestamp();
        AddStage(parent, "queue", times.Arrived, Or(times.Scheduled, end), prompt);
        if (times.Scheduled != 0)
            AddStage(parent, "prefill", times.Scheduled, Or(times.FirstToken, end), prompt);
        if (times.FirstToken != 0)
            AddStage(parent, "decode", times.FirstToken, times.LastToken, prompt);
        foreach (PreemptionSpan preemption in stream.Preemptions)
            AddStage(parent, "preemption", preemption.Since, Or(preemption.Until, end), prompt, preemption.Choice);
    }

    private void AddStage(Activity parent, string name, long from, long to, int? prompt, int? choice = null)
    {
        using Activity? stage = _telemetry.Source.StartActivity(name, ActivityKind.Internal, parent.Context, startTime: At(from));
        if (stage is null)
            return;
        if (prompt is not null)
            stage.SetTag("inference.prompt", prompt);
        if (choice is not null)
            stage.SetTag("inference.choice", choice);
        stage.SetEndTime(At(to).UtcDateTime);
    }

    private void End(string? error)
    {
        _telemetry.Ended(_tags, error, Seconds(_begun, _telemetry.Time.GetTimestamp()));
        if (_span is null || error is null)
            return;
        _span.SetTag("error.type", error);
        _span.SetStatus(ActivityStatusCode.Error);
    }

    private static long Or(long timestamp, long otherwise) => timestamp == 0 ? otherwise : timestamp;

    private DateTimeOffset At(long timestamp) => _begunAt + _telemetry.Time.GetElapsedTime(_begun, timestamp);

    private double Seconds(long from, long to) => _telemetry.Time.GetElapsedTime(from, to).TotalSeconds;
}
