using System.Diagnostics;
using System.Diagnostics.Metrics;
using InferenceService.Engine;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Telemetry;

/// <summary>Spans and metrics of generations by the GenAI conventions, for whoever listens; costs next to nothing when nobody does.</summary>
/// <remarks>
/// Conventions: github.com/open-telemetry/semantic-conventions-genai at commit 004902b (status Development), with general attributes of
/// semantic-conventions 1.42.0. Everything is made once a request, from timestamps the engine left behind: nothing happens per token.
/// </remarks>
internal sealed class RequestTelemetry : IDisposable
{
    /// <summary>Name of the activity source and of the meter.</summary>
    public const string Name = "InferenceService";

    private readonly InferenceMetrics _metrics;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _firstToken;
    private readonly Histogram<double> _perToken;

    /// <summary>Registers the instruments.</summary>
    public RequestTelemetry(IMeterFactory meters, InferenceMetrics metrics, TimeProvider time)
    {
        (_metrics, Time) = (metrics, time);
        Meter meter = meters.Create(new MeterOptions(Name) { Version = ServerVersion.Text });
        _duration = Seconds("gen_ai.server.request.duration", "Time from a generation's start to its last byte.",
            [.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]);
        _firstToken = Seconds("gen_ai.server.time_to_first_token", "Time from a generation's start to its first token.",
            [.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10]);
        _perToken = Seconds("gen_ai.server.time_per_output_token", "Mean time between two tokens of a generation that succeeded.",
            [.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5]);
        meter.CreateObservableUpDownCounter("inference.requests.running", () => Each(s => s.Running), "{request}", "Sequences in the batch.");
        meter.CreateObservableUpDownCounter("inference.requests.waiting", () => Each(s => s.Waiting), "{request}", "Sequences waiting for admission into the batch.");
        meter.CreateObservableGauge("inference.kv_cache.usage", () => Each(s => s.BlocksTotal == 0 ? 0 : s.BlocksUsed / (double)s.BlocksTotal), "1", "Used share of the KV blocks.");
        meter.CreateObservableCounter("inference.preemptions", () => Each(s => s.Preemptions), "{preemption}", "Sequences put back to waiting.");
        meter.CreateObservableCounter("inference.tokens.prompt", () => Each(s => s.PromptTokens), "{token}", "Prompt tokens of admitted requests.");
        meter.CreateObservableCounter("inference.tokens.cached", () => Each(s => s.PrefixHitTokens), "{token}", "Prompt tokens found in the prefix cache.");
        meter.CreateObservableCounter("inference.tokens.generated", () => Each(s => s.GeneratedTokens), "{token}", "Tokens generated.");
        meter.CreateObservableCounter("inference.requests.rejected", Rejections, "{request}", "Requests turned away, by reason.");

        Histogram<double> Seconds(string name, string description, double[] bounds) =>
            meter.CreateHistogram(name, "s", description, tags: null, new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds });
    }

    /// <summary>Makes the spans.</summary>
    public ActivitySource Source { get; } = new(Name, ServerVersion.Text);

    /// <summary>Clock of all timestamps.</summary>
    public TimeProvider Time { get; }

    /// <summary>A checked request is about to knock at the engine's door.</summary>
    public RequestTrace Begin(HttpContext http, AnswerHead head, AnswerKind kind, GenerationOrder order, bool stream) => new(this, http, head, kind, order, stream);

    /// <summary>A generation has ended.</summary>
    /// <param name="tags">Who asked for what.</param>
    /// <param name="error">What went wrong; null = nothing.</param>
    /// <param name="seconds">How long it took.</param>
    public void Ended(in TagList tags, string? error, double seconds)
    {
        if (!_duration.Enabled)
            return;
        TagList all = tags;
        if (error is not null)
            all.Add("error.type", error);
        _duration.Record(seconds, all);
    }

    /// <summary>A generation's first token came.</summary>
    public void FirstToken(in TagList tags, double seconds) => _firstToken.Record(seconds, tags);

    /// <summary>Mean time between the tokens of a generation that succeeded.</summary>
    public void PerToken(in TagList tags, double seconds) => _perToken.Record(seconds, tags);

    /// <inheritdoc/>
    public void Dispose() => Source.Dispose();

    private IEnumerable<Measurement<double>> Each(Func<EngineStatistics, double> value)
    {
        foreach (ModelMetrics model in _metrics.Models)
            yield return new Measurement<double>(value(model.Now), KeyValuePair.Create<string, object?>("gen_ai.request.model", model.Model.Names[0]));
    }

    private IEnumerable<Measurement<long>> Rejections()
    {
        for (int i = 0; i < InferenceMetrics.RejectionNames.Length; i++)
            yield return new Measurement<long>(_metrics.Count((RejectionReason)i), KeyValuePair.Create<string, object?>("reason", InferenceMetrics.RejectionNames[i]));
    }
}
