using InferenceService.Engine;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Api;

public sealed class RequestMetricsTests
{
    [Fact]
    public async Task Requests_leave_their_counts()
    {
        await using TestServer server = await TestServer.StartAsync();
        var all = server.Service<InferenceMetrics>();
        ModelMetrics metrics = all.For(server.Service<IModelCatalog>().Models[0]);
        await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":["Once","Twice"],"n":2,"max_tokens":5,"ignore_eos":true}""");
        await ApiClient.StreamAsync(server.Client, "/v1/completions", $$"""{"prompt":"Once","max_tokens":9,"logit_bias":{"{{TinyModel.EndId}}":100},"stream":true}""");
        using HttpResponseMessage bad = await server.Client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"Once","n":0}"""));
        using HttpResponseMessage tooLong = await server.Client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"Once","max_tokens":9999}"""));

        Assert.Equal((4, 1, 0, 0), (metrics.Finished(FinishedReason.Length), metrics.Finished(FinishedReason.Stop), metrics.Finished(FinishedReason.Abort), metrics.Finished(FinishedReason.Error)));
        Assert.Equal((1, 1), (all.Count(RejectionReason.InvalidRequest), all.Count(RejectionReason.ContextLength)));
        // Three prompts: one first token and one end each; gaps between the tokens of each choice.
        Assert.Equal((3, 3, 3), (Count(metrics.TimeToFirstToken), Count(metrics.EndToEnd), Count(metrics.PromptTokens)));
        Assert.Equal((16, 5), (Count(metrics.InterTokenLatency), Count(metrics.GenerationTokens)));

        static int Count(Histogram histogram) => (int)Enumerable.Range(0, histogram.Bounds.Length + 1).Sum(histogram.Count);
    }
}
