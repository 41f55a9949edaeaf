using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry.Otlp;
using InferenceService.Server.Tests.Api;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace InferenceService.Server.Tests.Telemetry.Otlp;

/// <summary>The real server against a real collector in this process. Other servers of the test run share its listeners, so spans are found by trace, metrics by port.</summary>
[Collection(AloneCollection.Name)]
public sealed class OtlpExportTests
{
    private const int Internal = 1, Server = 2, Error = 2;

    [Theory]
    [InlineData("http/protobuf")]
    [InlineData("grpc")]
    public async Task A_generation_is_a_tree_of_spans_in_the_callers_trace(string protocol)
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        await using TestServer server = await StartAsync(protocol == "grpc" ? collector.Grpc : collector.Http, $"Telemetry:Otlp:Protocol={protocol}", "Telemetry:Otlp:Headers=authorization=Basic%20abc");
        (string trace, string caller) = NewTrace();
        using HttpResponseMessage answer = await server.Client.SendAsync(Request(
            "/v1/chat/completions", """{"messages":[{"role":"user","content":"Hi"}],"max_tokens":6,"ignore_eos":true,"seed":7,"top_p":0.5,"stream":true}""", trace, caller));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        await answer.Content.ReadAsStringAsync();
        OtlpSpan[] spans = await SpansAsync(server, collector, trace);

        OtlpSpan http = Assert.Single(spans, span => span.Kind == Server);
        Assert.Equal((caller, "POST /v1/chat/completions", "app=1"), (http.ParentId, http.Name, http.State));
        Assert.Equal($"00-{trace}-{http.SpanId}-01", Assert.Single(answer.Headers.GetValues("traceresponse")));
        AssertTags(http, ("http.request.method", "POST"), ("http.route", "/v1/chat/completions"), ("http.response.status_code", 200L), ("url.path", "/v1/chat/completions"),
            ("url.scheme", "http"), ("server.port", (long)server.Address.Port), ("inference.request_id", answer.Headers.GetValues("x-request-id").Single()));
        AssertTags(http.Resource, ("service.name", "inference-service"), ("service.version", ServerVersion.Text));
        Assert.True(http.Resource.ContainsKey("service.instance.id"));

        OtlpSpan generation = Assert.Single(spans, span => span.Name == "chat tiny");
        Assert.Equal((http.SpanId, Internal, 0), (generation.ParentId, generation.Kind, generation.Status));
        AssertTags(generation, ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "inference_service"), ("gen_ai.request.model", "tiny"),
            ("gen_ai.response.model", "tiny"), ("gen_ai.request.max_tokens", 6L), ("gen_ai.request.seed", 7L), ("gen_ai.request.top_p", 0.5), ("gen_ai.request.temperature", 1.0),
            ("gen_ai.request.stream", true), ("gen_ai.request.choice.count", 1L), ("gen_ai.usage.output_tokens", 6L), ("gen_ai.usage.cache_read.input_tokens", 0L),
            ("inference.kv.policy", "full"), ("server.port", (long)server.Address.Port));
        Assert.Equal(["length"], Assert.IsType<object[]>(generation.Attributes["gen_ai.response.finish_reasons"]));
        Assert.InRange((long)generation.Attributes["gen_ai.usage.input_tokens"]!, 5, 50);
        Assert.InRange((double)generation.Attributes["gen_ai.response.time_to_first_chunk"]!, 0, 60);
        Assert.StartsWith("chatcmpl-", (string)generation.Attributes["gen_ai.response.id"]!, StringComparison.Ordinal);

        OtlpSpan[] stages = [.. ((string[])["queue", "prefill", "decode"]).Select(name => Assert.Single(spans, span => span.Name == name))];
        Assert.All(stages, stage => Assert.Equal((generation.SpanId, Internal), (stage.ParentId, stage.Kind)));
        Assert.All(spans, span => Assert.True(span.Start <= span.End));
        Assert.True(http.Start <= generation.Start && generation.Start <= stages[0].Start && stages[2].End <= generation.End && generation.End <= http.End);
        Assert.Equal((stages[0].End, stages[1].End), (stages[1].Start, stages[2].Start));
        Assert.Equal("Basic abc", collector.Authorization);
    }

    [Fact]
    public async Task A_preemption_is_a_span_and_so_are_the_stages_of_every_prompt()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        // Two choices of 700 tokens do not fit at once.
        await using TestServer server = await StartAsync(collector.Http, "--max-model-len", "1000", "--kv-cache-memory-bytes", "300K");
        (string trace, string caller) = NewTrace();
        using HttpResponseMessage both = await server.Client.SendAsync(Request("/v1/completions", """{"prompt":"Once","n":2,"max_tokens":700,"ignore_eos":true}""", trace, caller));
        Assert.Equal(HttpStatusCode.OK, both.StatusCode);
        OtlpSpan[] spans = await SpansAsync(server, collector, trace);
        OtlpSpan generation = Assert.Single(spans, span => span.Name == "text_completion tiny");
        Assert.Equal(1400L, generation.Attributes["gen_ai.usage.output_tokens"]);
        OtlpSpan[] waits = [.. spans.Where(span => span.Name == "preemption")];
        Assert.NotEmpty(waits);
        Assert.All(waits, wait => Assert.Equal((generation.SpanId, true), (wait.ParentId, wait.Attributes["inference.choice"] is 0L or 1L)));

        (trace, caller) = NewTrace();
        using HttpResponseMessage several = await server.Client.SendAsync(Request("/v1/completions", """{"prompt":["Once","Twice"],"max_tokens":3}""", trace, caller));
        spans = await SpansAsync(server, collector, trace);
        Assert.Equal([0L, 1L], spans.Where(span => span.Name == "decode").Select(span => span.Attributes["inference.prompt"]).Order());
    }

    [Fact]
    public async Task What_goes_wrong_is_named()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        await using TestServer server = await StartAsync(collector.Http, "--kv-cache-memory-bytes", "100K", "--max-model-len", "300");
        (string trace, string caller) = NewTrace();
        using HttpResponseMessage refused = await server.Client.SendAsync(Request("/v1/completions", """{"prompt":"Once","n":0}""", trace, caller));
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        OtlpSpan http = Assert.Single(await SpansAsync(server, collector, trace));
        Assert.Equal((400L, 0), (http.Attributes["http.response.status_code"], http.Status)); // the client's fault is not the server's error

        // A client that leaves: the generation ends early, and so does its last stage.
        (trace, caller) = NewTrace();
        using (HttpResponseMessage stream = await server.Client.SendAsync(
            Request("/v1/completions", """{"prompt":"Once","max_tokens":250,"ignore_eos":true,"n":64,"stream":true}""", trace, caller), HttpCompletionOption.ResponseHeadersRead))
            await (await stream.Content.ReadAsStreamAsync()).ReadExactlyAsync(new byte[64]);
        OtlpSpan[] spans = await SpansAsync(server, collector, trace);
        OtlpSpan generation = Assert.Single(spans, span => span.Name == "text_completion tiny");
        Assert.Equal(("client_disconnected", Error), (generation.Attributes["error.type"], generation.Status));
        Assert.Contains(spans, span => span.Name == "decode" && span.ParentId == generation.SpanId);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_waited_too_long_in_the_queue_is_an_error_whatever_its_status(bool stream)
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        var time = new ManualTime();
        // Its headers, and with them status 200, go out long before its time in the queue is up.
        await using TestServer server = await TestServer.StartAsync(
            load: true, time, ["--otlp-endpoint", collector.Http, .. LongModel.OneAtATime, "Admission:MaxQueueWait=3600", "Streaming:EarlyHeaders=1"]);
        InferenceEngine engine = server.Service<IModelCatalog>().Models[0].Engine;
        using HttpClient first = server.NewClient();
        Task<HttpResponseMessage> running = first.SendAsync(LongModel.Prefill());
        await Eventually.TrueAsync(() => engine.Statistics.Running == 1);
        (string trace, string caller) = NewTrace();
        Task<HttpResponseMessage> waiting = server.Client.SendAsync(
            Request("/v1/completions", $$"""{"prompt":"Once","max_tokens":2,"stream":{{(stream ? "true" : "false")}}}""", trace, caller), HttpCompletionOption.ResponseHeadersRead);
        await Eventually.TrueAsync(() => engine.Statistics.Waiting == 1);
        if (stream)
            await time.AdvanceUntilAsync(waiting);
        await Eventually.TrueAsync(() =>
        {
            time.Advance(TimeSpan.FromHours(1));
            return engine.Statistics.Waiting == 0;
        });
        using HttpResponseMessage late = await waiting;
        Assert.Equal(stream ? HttpStatusCode.OK : HttpStatusCode.ServiceUnavailable, late.StatusCode);
        first.CancelPendingRequests();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        OtlpSpan generation = Assert.Single(await SpansAsync(server, collector, trace), span => span.Name.StartsWith("text_completion", StringComparison.Ordinal));
        Assert.Equal(("queue_timeout", Error), (generation.Attributes["error.type"], generation.Status));
    }

    [Fact]
    public async Task Metrics_follow_the_conventions()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        await using TestServer server = await StartAsync(collector.Http);
        await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"Once","max_tokens":5,"ignore_eos":true}""");
        // The web server measures a request when its answer has left, so the client may be here first.
        await Eventually.TrueAsync(() => server.Service<MeterProvider>().ForceFlush() && ((string[])[
            "gen_ai.server.request.duration", "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token", "http.server.request.duration"]).All(
            name => collector.Metrics.Any(metric => metric.Name == name && (metric.Attributes.ContainsValue((long)server.Address.Port) || Equals(metric.Attributes.GetValueOrDefault("http.route"), "/v1/completions")))));
        OtlpMetric Of(string name, string attribute = "server.port", object? value = null) =>
            collector.Metrics.Last(metric => metric.Name == name && Equals(metric.Attributes.GetValueOrDefault(attribute), value ?? (long)server.Address.Port));
        foreach (string name in (string[])["gen_ai.server.request.duration", "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token"])
        {
            OtlpMetric metric = Of(name);
            Assert.Equal(("s", "InferenceService", 1L), (metric.Unit, metric.Scope, metric.Count));
            AssertTags(metric.Attributes, ("gen_ai.operation.name", "text_completion"), ("gen_ai.provider.name", "inference_service"), ("gen_ai.request.model", "tiny"), ("gen_ai.response.model", "tiny"));
            Assert.DoesNotContain("error.type", metric.Attributes.Keys);
        }

        Assert.Equal([.. Enumerable.Range(0, 14).Select(i => Math.Round(0.01 * (1 << i), 2))], Of("gen_ai.server.request.duration").Bounds);
        Assert.Equal([.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10], Of("gen_ai.server.time_to_first_token").Bounds);
        Assert.Equal([.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5], Of("gen_ai.server.time_per_output_token").Bounds);
        foreach (string name in (string[])["inference.requests.running", "inference.kv_cache.usage", "inference.tokens.generated", "inference.preemptions"])
            Assert.Contains(collector.Metrics, metric => metric.Name == name && Equals(metric.Attributes["gen_ai.request.model"], "tiny"));
        Assert.Contains(collector.Metrics, metric => metric.Name == "inference.requests.rejected" && Equals(metric.Attributes["reason"], "queue_full"));
        // The framework's own: HTTP, connections, the runtime.
        Assert.Equal("/v1/completions", Of("http.server.request.duration", "http.route", "/v1/completions").Attributes["http.route"]);
        Assert.Contains(collector.Metrics, metric => metric.Name == "kestrel.active_connections");
        Assert.Contains(collector.Metrics, metric => metric.Name == "dotnet.gc.pause.time");
    }

    [Fact]
    public async Task The_warm_up_is_no_traffic_in_exported_metrics_either()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        string name = $"model-{Guid.NewGuid():N}"; // the meters of other servers are heard too
        await using TestServer server = await StartAsync(collector.Http, "--served-model-name", name);
        await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":[70,71,72],"max_tokens":5,"ignore_eos":true}""");
        await Eventually.TrueAsync(() => server.Service<MeterProvider>().ForceFlush() && Of("inference.tokens.generated") >= 5);
        Assert.Equal((5, 3), (Of("inference.tokens.generated"), Of("inference.tokens.prompt")));

        double Of(string metric) => collector.Metrics.LastOrDefault(known => known.Name == metric && Equals(known.Attributes.GetValueOrDefault("gen_ai.request.model"), name))?.Sum ?? 0;
    }

    [Fact]
    public async Task Log_records_carry_the_trace_of_their_request()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        await using TestServer server = await StartAsync(collector.Http, "--enable-log-requests");
        (string trace, string caller) = NewTrace();
        using HttpResponseMessage answer = await server.Client.SendAsync(Request("/v1/completions", """{"prompt":"Once","max_tokens":2}""", trace, caller));
        await Eventually.TrueAsync(() => server.Service<LoggerProvider>().ForceFlush() && collector.Logs.Any(log => log.TraceId == trace));
        OtlpSpan[] spans = await SpansAsync(server, collector, trace);
        OtlpLog line = Assert.Single(collector.Logs, log => log.TraceId == trace);
        Assert.Equal((spans.Single(span => span.Kind == Server).SpanId, 9), (line.SpanId, line.Severity));
        AssertTags(line.Attributes, ("Method", "POST"), ("Route", "/v1/completions"), ("Status", 200L), ("TraceId", trace));
        Assert.StartsWith("POST /v1/completions 200 in ", line.Body, StringComparison.Ordinal);
        Assert.Equal("InferenceService.Server.Hosting.Pipeline.RequestEnvelope", line.Scope);
    }

    /// <summary>Prompts, answers, stop strings, template variables, keys and headers stay here, whether a request succeeds or not.</summary>
    [Fact]
    public async Task Nothing_that_a_client_wrote_leaves()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        await using TestServer server = await StartAsync(collector.Http, "--enable-log-requests", "--api-key", "sk-hidden-9d2e", "Telemetry:Otlp:Headers=x-token=collector-hidden-77");
        using HttpClient client = server.NewClient("sk-hidden-9d2e");
        client.DefaultRequestHeaders.UserAgent.ParseAdd("agent-hidden-31");
        client.DefaultRequestHeaders.Add("baggage", "user=baggage-hidden-5c");
        (string trace, string caller) = NewTrace();
        foreach (string body in (string[])[
            """{"messages":[{"role":"user","content":"prompt-hidden-1"}],"stop":"stop-hidden-2","max_tokens":4,"user":"user-hidden-3","chat_template_kwargs":{"x":"kwargs-hidden-4"},"unknown-hidden-5":1}""",
            """{"messages":[{"role":"tool-hidden-6","content":"prompt-hidden-7"}]}""",
            """{"messages":[{"role":"user","content":"prompt-hidden-8"}],"temperature":99}""",
            """{"messages":"prompt-hidden-9""",
            """{"model":"model-hidden-10","messages":[{"role":"user","content":"prompt-hidden-11"}]}""",
        ])
        {
            using HttpRequestMessage request = Request("/v1/chat/completions?key=query-hidden-12", body, trace, caller);
            (await client.SendAsync(request)).Dispose();
        }

        using (HttpRequestMessage wrong = Request("/v1/models", "{}", trace, caller))
        {
            wrong.Headers.Authorization = new AuthenticationHeaderValue("Bearer", "sk-hidden-wrong");
            (await server.Client.SendAsync(wrong)).Dispose();
        }

        Assert.Equal(10, (await SpansAsync(server, collector, trace, requests: 6)).Length); // one got to the engine: five spans; the others are one each
        server.Service<MeterProvider>().ForceFlush();
        server.Service<LoggerProvider>().ForceFlush();
        Assert.True(collector.Saw("gen_ai.request.model") && collector.Metrics.Count > 0 && collector.Logs.Any(log => log.TraceId == trace));
        Assert.False(collector.Saw("-hidden-"));
    }

    [Fact]
    public async Task A_collector_that_does_not_answer_delays_no_request_and_fills_no_queue()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync(holds: true);
        await using TestServer server = await StartAsync(collector.Http, "Telemetry:Otlp:Metrics=false", "OTEL_BSP_MAX_QUEUE_SIZE=8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=4", "OTEL_BSP_SCHEDULE_DELAY=10");
        var traces = new HashSet<string>();
        for (int i = 0; i < 20; i++)
        {
            (string trace, string caller) = NewTrace();
            using HttpResponseMessage answer = await server.Client.SendAsync(Request("/v1/completions", """{"prompt":"Once","max_tokens":2}""", trace, caller));
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            traces.Add(trace);
        }

        // All were answered while the collector held its first call; of their hundred spans the queue kept eight.
        await Eventually.TrueAsync(() => collector.Calls > 0);
        Assert.Empty(collector.Spans);
        collector.Release();
        await Eventually.TrueAsync(() => server.Service<TracerProvider>().ForceFlush() && collector.Spans.Count > 0);
        Assert.InRange(collector.Spans.Count(span => traces.Contains(span.TraceId)), 0, 60);
    }

    [Fact]
    public async Task A_collector_that_hangs_up_fails_no_request()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int calls = 0;
        Task hangingUp = HangUpAsync();
        await using (TestServer server = await StartAsync($"http://{listener.LocalEndpoint}", "Telemetry:Otlp:Metrics=false", "Telemetry:Otlp:Logs=false", "OTEL_BSP_SCHEDULE_DELAY=1"))
        {
            for (int i = 0; i < 3; i++)
            {
                using HttpResponseMessage answer = await server.Client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"Once","max_tokens":2}"""));
                Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            }

            await Eventually.TrueAsync(() => Volatile.Read(ref calls) > 0 && server.Service<ExportFaults>().Count > 0);
        }

        listener.Stop();
        await hangingUp;

        async Task HangUpAsync()
        {
            try
            {
                while (true)
                {
                    (await listener.AcceptTcpClientAsync()).Dispose();
                    Interlocked.Increment(ref calls);
                }
            }
            catch (Exception stopped) when (stopped is SocketException or InvalidOperationException or ObjectDisposedException)
            {
                // Stopped.
            }
        }
    }

    [Fact]
    public async Task Probes_and_scrapes_leave_no_spans()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        await using TestServer server = await StartAsync(collector.Http);
        (string trace, string caller) = NewTrace();
        foreach (string path in (string[])["/health", "/v1/health", "/ping", "/live", "/ready", "/version", "/load", "/metrics", "/v1/models"])
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.Add("traceparent", $"00-{trace}-{caller}-01");
            (await server.Client.SendAsync(request)).EnsureSuccessStatusCode().Dispose();
        }

        Assert.Equal("GET /v1/models", Assert.Single(await SpansAsync(server, collector, trace)).Name);
    }

    [Fact]
    public async Task Without_an_endpoint_nothing_is_set_up()
    {
        await using TestServer server = await TestServer.StartAsync();
        Assert.Throws<InvalidOperationException>(() => server.Service<TracerProvider>());
        Assert.Throws<InvalidOperationException>(() => server.Service<MeterProvider>());
        Assert.Throws<InvalidOperationException>(() => server.Service<LoggerProvider>());
        using HttpResponseMessage answer = await server.Client.GetAsync("/v1/models");
        Assert.False(answer.Headers.Contains("traceresponse"));
    }

    private static Task<TestServer> StartAsync(string endpoint, params string[] flags) => TestServer.StartAsync(["--otlp-endpoint", endpoint, .. flags]);

    private static (string Trace, string Caller) NewTrace() => (ActivityTraceId.CreateRandom().ToHexString(), ActivitySpanId.CreateRandom().ToHexString());

    private static HttpRequestMessage Request(string path, string body, string trace, string caller)
    {
        HttpRequestMessage request = ApiClient.Request(path, body);
        request.Headers.Add("traceparent", $"00-{trace}-{caller}-01");
        request.Headers.Add("tracestate", "app=1");
        return request;
    }

    // A request's span ends last, and after its answer, so its client may have to wait for it.
    private static async Task<OtlpSpan[]> SpansAsync(TestServer server, OtlpReceiver collector, string trace, int requests = 1)
    {
        await Eventually.TrueAsync(() => server.Service<TracerProvider>().ForceFlush() && collector.Spans.Count(span => span.TraceId == trace && span.Kind == Server) >= requests);
        return [.. collector.Spans.Where(span => span.TraceId == trace)];
    }

    private static void AssertTags(OtlpSpan span, params (string Key, object Value)[] expected) => AssertTags(span.Attributes, expected);

    private static void AssertTags(Dictionary<string, object?> attributes, params (string Key, object Value)[] expected)
    {
        foreach ((string key, object value) in expected)
            Assert.Equal((key, value), (key, attributes.GetValueOrDefault(key)));
    }
}
