using System.Text;
using InferenceService.Engine;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Telemetry;

[Collection(ServerCollection.Name)]
public sealed class MetricsPageTests(ServerFixture fixture)
{
    private readonly ManualTime _time = new();
    private readonly ServedModel _model = fixture.Server.Service<IModelCatalog>().Models[0];

    /// <summary>Series that dashboards, scalers and pickers in circulation query, with their types.</summary>
    public static TheoryData<string, string> WellKnown => new()
    {
        { "num_requests_running", "gauge" }, { "num_requests_waiting", "gauge" }, { "num_requests_waiting_by_reason", "gauge" },
        { "kv_cache_usage_perc", "gauge" }, { "num_preemptions_total", "counter" }, { "prompt_tokens_total", "counter" },
        { "generation_tokens_total", "counter" }, { "prompt_tokens_cached_total", "counter" }, { "prompt_tokens_by_source_total", "counter" },
        { "prefix_cache_queries_total", "counter" }, { "prefix_cache_hits_total", "counter" }, { "request_success_total", "counter" },
        { "time_to_first_token_seconds", "histogram" }, { "inter_token_latency_seconds", "histogram" },
        { "request_time_per_output_token_seconds", "histogram" }, { "e2e_request_latency_seconds", "histogram" },
        { "request_queue_time_seconds", "histogram" }, { "request_prefill_time_seconds", "histogram" },
        { "request_decode_time_seconds", "histogram" }, { "request_inference_time_seconds", "histogram" },
        { "request_prompt_tokens", "histogram" }, { "request_generation_tokens", "histogram" },
        { "request_max_num_generation_tokens", "histogram" }, { "request_params_max_tokens", "histogram" },
        { "request_prefill_kv_computed_tokens", "histogram" }, { "request_params_n", "histogram" }, { "cache_config_info", "gauge" },
        { "iteration_tokens_total", "histogram" }, { "kv_block_lifetime_seconds", "histogram" },
        { "kv_block_idle_before_evict_seconds", "histogram" }, { "kv_block_reuse_gap_seconds", "histogram" },
    };

    [Theory]
    [MemberData(nameof(WellKnown))]
    public void Well_known_series_have_our_name_and_vllms(string suffix, string type)
    {
        PrometheusPage page = Render(new InferenceMetrics(_time), vllm: true);
        Assert.Equal(type, page.Types["inference_" + suffix]);
        Assert.Equal(type, page.Types["vllm:" + suffix]);
        Assert.All(page.Samples.Keys.Where(key => key.StartsWith("vllm:" + suffix + "{", StringComparison.Ordinal)),
            key => Assert.Contains("model_name=\"tiny\",engine=\"0\"", key, StringComparison.Ordinal));
    }

    /// <summary>The list in docs/metrics.md is what operators build on.</summary>
    [Fact]
    public void What_is_served_is_what_the_documentation_lists()
    {
        PrometheusPage page = Render(new InferenceMetrics(_time), vllm: true);
        var listed = new List<string>();
        foreach (string[] row in Rows(Path.Combine(ArchitectureTests.Root, "docs", "metrics.md")))
        {
            string[] prefixes = row[1] switch { "both" => ["inference_", "vllm:"], "ours" => ["inference_"], "vllm" => ["vllm:"], "none" => [""], _ => throw new FormatException(row[1]) };
            listed.AddRange(prefixes.Select(prefix => $"{prefix}{row[0].Trim('`')} {row[2]} [{row[3]}] {row[4]}"));
        }

        IEnumerable<string> served = page.Types.Select(family => $"{family.Key} {family.Value} [{page.Labels[family.Key]}] {page.Help[family.Key]}");
        Assert.Equal(listed.Order(StringComparer.Ordinal), served.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Writing_the_page_allocates_nothing()
    {
        var metrics = new InferenceMetrics(_time);
        metrics.For(_model);
        var http = new HttpMetrics();
        http.Observe("/v1/models", "GET", 200, 0.01);
        var page = new MetricsPage(metrics, http, new TelemetryOptions(), NamedKey);
        using var buffer = new PooledBuffer(1 << 20);
        long least = long.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            buffer.Clear();
            long before = GC.GetAllocatedBytesForCurrentThread();
            page.Write(buffer);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
        Assert.True(buffer.Count > 10_000);
    }

    [Fact]
    public void Aliases_can_be_turned_off()
    {
        PrometheusPage page = Render(new InferenceMetrics(_time), vllm: false);
        Assert.DoesNotContain(page.Types.Keys, name => name.StartsWith("vllm:", StringComparison.Ordinal));
        Assert.True(page.Types.ContainsKey("inference_num_requests_running"));
    }

    [Fact]
    public void Old_names_of_gauges_and_histograms_are_kept_for_old_dashboards()
    {
        PrometheusPage page = Render(new InferenceMetrics(_time), vllm: true);
        Assert.Equal("gauge", page.Types["vllm:gpu_cache_usage_perc"]);
        Assert.Equal("histogram", page.Types["vllm:time_per_output_token_seconds"]);
    }

    [Theory]
    [InlineData("time_to_first_token_seconds", "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560")]
    [InlineData("inter_token_latency_seconds", "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80")]
    [InlineData("e2e_request_latency_seconds", "0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680")]
    [InlineData("request_prompt_tokens", "1 2 5 10 20 50 100 200 500 1000 2000")]
    [InlineData("request_params_n", "1 2 5 10 20")]
    [InlineData("iteration_tokens_total", "1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384")]
    public void Buckets_are_those_that_dashboards_expect(string suffix, string bounds) =>
        Assert.Equal([.. bounds.Split(' '), "+Inf"], Render(new InferenceMetrics(_time), vllm: true).Bounds("vllm:" + suffix));

    [Fact]
    public void A_finished_request_is_counted_in_every_stage()
    {
        var metrics = new InferenceMetrics(_time);
        ModelMetrics model = metrics.For(_model);
        var times = new RequestTimes(Arrived: Second(1), Scheduled: Second(2), FirstToken: Second(4), LastToken: Second(8));
        model.FirstToken(times);
        model.TokenGap(0.2);
        model.ChoiceFinished(FinishedReason.Stop, 5);
        model.ChoiceFinished(FinishedReason.Length, 3);
        model.RequestFinished(new FinishedRequest(times, PromptTokens: 30, CachedTokens: 16, LongestChoice: 5, MaxTokens: 100, Choices: 2));
        PrometheusPage page = Render(metrics, vllm: true);
        foreach (string prefix in (string[])["inference_", "vllm:"])
        {
            Assert.Equal(3, page.Value(prefix + "time_to_first_token_seconds_sum"));
            Assert.Equal(1, page.Value(prefix + "request_queue_time_seconds_sum"));
            Assert.Equal(2, page.Value(prefix + "request_prefill_time_seconds_sum"));
            Assert.Equal(4, page.Value(prefix + "request_decode_time_seconds_sum"));
            Assert.Equal(6, page.Value(prefix + "request_inference_time_seconds_sum"));
            Assert.Equal(7, page.Value(prefix + "e2e_request_latency_seconds_sum"));
            Assert.Equal(1, page.Value(prefix + "request_time_per_output_token_seconds_sum"));
            Assert.Equal(30, page.Value(prefix + "request_prompt_tokens_sum"));
            Assert.Equal(14, page.Value(prefix + "request_prefill_kv_computed_tokens_sum"));
            Assert.Equal(8, page.Value(prefix + "request_generation_tokens_sum"));
            Assert.Equal(2, page.Value(prefix + "request_generation_tokens_count"));
            Assert.Equal(5, page.Value(prefix + "request_max_num_generation_tokens_sum"));
            Assert.Equal(2, page.Value(prefix + "request_params_n_sum"));
            Assert.Equal(1, page.Value(prefix + "request_success_total", "finished_reason=\"stop\""));
            Assert.Equal(1, page.Value(prefix + "request_success_total", "finished_reason=\"length\""));
            Assert.Equal(0, page.Value(prefix + "request_success_total", "finished_reason=\"abort\""));
        }
    }

    [Fact]
    public void Stages_that_a_request_never_reached_are_not_observed()
    {
        var metrics = new InferenceMetrics(_time);
        metrics.For(_model).RequestFinished(new FinishedRequest(new RequestTimes(Second(1), 0, 0, 0), 3, 0, 0, 10, 1));
        PrometheusPage page = Render(metrics, vllm: false);
        Assert.Equal(0, page.Value("inference_request_queue_time_seconds_count"));
        Assert.Equal(0, page.Value("inference_e2e_request_latency_seconds_count"));
        Assert.Equal(1, page.Value("inference_request_prompt_tokens_count"));
    }

    [Fact]
    public void Refusals_and_disconnects_are_counted_by_reason()
    {
        var metrics = new InferenceMetrics(_time);
        metrics.Rejected(RejectionReason.QueueFull);
        metrics.Rejected(RejectionReason.QueueFull);
        metrics.Disconnected(DisconnectPhase.Prefill);
        PrometheusPage page = Render(metrics, vllm: false);
        Assert.Equal(2, page.Value("inference_requests_rejected_total", "reason=\"queue_full\""));
        Assert.Equal(0, page.Value("inference_requests_rejected_total", "reason=\"rate_limit\""));
        Assert.Equal(1, page.Value("inference_client_disconnects_total", "phase=\"prefill\""));
        Assert.Equal(Enum.GetNames<RejectionReason>().Length, InferenceMetrics.RejectionNames.Length);
        Assert.Equal(Enum.GetNames<DisconnectPhase>().Length, InferenceMetrics.DisconnectNames.Length);
    }

    [Fact]
    public void Only_keys_that_were_given_a_name_have_series()
    {
        PrometheusPage page = Render(new InferenceMetrics(_time), vllm: false);
        string[] labels = [.. page.Samples.Keys.Where(key => key.StartsWith("inference_key_", StringComparison.Ordinal))];
        Assert.Equal(4, labels.Length);
        Assert.All(labels, sample => Assert.EndsWith("{key=\"team\"}", sample, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_route_answers_in_the_text_format_and_counts_itself_by_route()
    {
        await using TestServer server = await TestServer.StartAsync();
        (await server.Client.GetAsync("/v1/models/some-unknown-name")).Dispose();
        (await server.Client.GetAsync("/no/such/path")).Dispose();
        HttpResponseMessage answer = await server.Client.GetAsync("/metrics");
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", answer.Content.Headers.ContentType?.ToString());
        string text = await answer.Content.ReadAsStringAsync();
        PrometheusPage page = PrometheusPage.Parse(text);
        Assert.Equal(1, page.Value("http_requests_total", "handler=\"/v1/models/{**id}\"", "method=\"GET\"", "status=\"404\""));
        Assert.Equal(1, page.Value("http_requests_total", "handler=\"unmatched\"", "status=\"404\""));
        Assert.Equal(0, page.Value("inference_prompt_tokens_total"));
        Assert.DoesNotContain("some-unknown-name", text, StringComparison.Ordinal);
    }

    // The cells of the first table of a page.
    private static IEnumerable<string[]> Rows(string path) =>
        File.ReadLines(path).SkipWhile(line => !line.StartsWith("|---", StringComparison.Ordinal)).Skip(1).TakeWhile(line => line.StartsWith('|'))
            .Select(line => Array.ConvertAll(line.Trim().Trim('|').Split('|'), cell => cell.Trim()));

    private static ApiKeys NamedKey => ApiKeys.From(new AuthOptions { Keys = [new KeyOptions { Value = "sk-team", Name = "team" }, new KeyOptions { Value = "sk-other" }] });

    private static long Second(int second) => second * TimeSpan.TicksPerSecond;

    private PrometheusPage Render(InferenceMetrics metrics, bool vllm)
    {
        metrics.For(_model);
        var http = new HttpMetrics();
        http.Observe("/v1/models", "GET", 200, 0.01);
        http.Observe("/v1/models", "get", 200, 0.02);
        http.Observe("unmatched", "BREW", 405, 0.03);
        using var buffer = new PooledBuffer(16);
        new MetricsPage(metrics, http, new TelemetryOptions { VllmCompatibleMetrics = vllm }, NamedKey).Write(buffer);
        var page = PrometheusPage.Parse(Encoding.UTF8.GetString(buffer.Written.Span));
        Assert.Equal(2, page.Value("http_requests_total", "handler=\"/v1/models\"", "method=\"GET\""));
        Assert.Equal(1, page.Value("http_requests_total", "method=\"OTHER\""));
        return page;
    }
}
