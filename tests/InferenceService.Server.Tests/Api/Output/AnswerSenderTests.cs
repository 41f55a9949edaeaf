using System.Diagnostics;
using System.Text.Json;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests.Generation;

namespace InferenceService.Server.Tests.Api.Output;

public sealed class AnswerSenderTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_mistake_while_an_answer_is_written_is_a_failure_of_ours_and_no_client_that_left(bool stream)
    {
        await using TestServer server = await TestServer.StartAsync();
        ServedModel model = server.Service<IModelCatalog>().Models[0];
        var head = new AnswerHead($"cmpl-{Guid.NewGuid():N}", 1, "tiny", model, model.Policies.Default);
        Activity? span = null;
        using var listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == RequestTelemetry.Name,
            Sample = static (ref _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = stopped =>
            {
                if (Equals(stopped.GetTagItem("gen_ai.response.id"), head.Id)) // others stop at the same time
                    span = stopped;
            },
        };
        ActivitySource.AddActivityListener(listener);
        await Assert.ThrowsAsync<NotSupportedException>(() => server.Service<AnswerSender>().SendAsync(
            new PipedResponse().Context, AnswerKind.Chat, head, new GenerationSetup(model).Order(1), new BrokenWriter(), new AnswerOptions(null, false, false, false, false, false, false, 1), stream));
        Assert.Equal(("internal_error", ActivityStatusCode.Error), (span!.GetTagItem("error.type"), span.Status));
        Assert.All(Enum.GetValues<DisconnectPhase>(), phase => Assert.Equal(0, server.Service<InferenceMetrics>().Count(phase)));
        await Eventually.TrueAsync(() => model.Engine.Statistics is { Running: 0, Waiting: 0 });
    }

    private sealed class BrokenWriter : IAnswerWriter
    {
        public bool HasOpening => true;

        public void WriteOpening(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice) => throw new NotSupportedException("a mistake on purpose");

        public void WriteDelta(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice) => throw new NotSupportedException("a mistake on purpose");

        public void WriteFinish(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice) => throw new NotSupportedException("a mistake on purpose");

        public void WriteUsage(Utf8JsonWriter json, TextGeneration generation) => throw new NotSupportedException("a mistake on purpose");

        public void WriteWhole(Utf8JsonWriter json, TextGeneration generation) => throw new NotSupportedException("a mistake on purpose");
    }
}
