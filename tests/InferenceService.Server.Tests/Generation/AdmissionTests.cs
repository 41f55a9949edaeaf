using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Completions;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Tests.Api;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Generation;

[Collection(ServerCollection.Name)]
public sealed class AdmissionTests(ServerFixture fixture)
{
    private readonly ServedModel _model = fixture.Server.Service<IModelCatalog>().Models[0];

    [Fact]
    public async Task What_the_pool_can_never_hold_is_the_clients_mistake()
    {
        await using InferenceEngine engine = NewEngine(kvBytes: 64 << 10, queue: 8);
        ApiError error = Refused(engine, new AdmissionOptions(), Order(4, 1000));
        Assert.Equal((400, "kv_budget_exceeded", "prompt"), (error.Status, error.Code, error.Param));
        Assert.Contains("at most 256", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_the_context_can_never_hold_is_said_in_the_words_clients_look_for()
    {
        await using InferenceEngine engine = NewEngine(kvBytes: 64 << 10, queue: 8);
        ApiError error = Refused(engine, new AdmissionOptions(), Order(4, 3000));
        Assert.Equal((400, "context_length_exceeded"), (error.Status, error.Code));
        Assert.Contains("maximum context length is 2048 tokens", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(503)]
    [InlineData(529)]
    public async Task A_full_queue_is_overload_and_takes_no_prompt_of_the_request(int status)
    {
        await using InferenceEngine engine = NewEngine(kvBytes: 64 << 10, queue: 8);
        // Nobody reads its tokens, so that one choice stops half-way and seven never begin.
        GenerationStream stuck = engine.Submit(Order(4, 200) with { Choices = 8 }).Stream!;
        await Eventually.TrueAsync(() => engine.Statistics.GeneratedTokens > 0);
        var options = new AdmissionOptions { OverloadStatusCode = status, RetryAfterSeconds = 7 };
        ApiError error = Refused(engine, options, Order(4, 4), Order(4, 4) with { Choices = 9 });
        Assert.Equal((status, "overloaded_error", "server_overloaded", 7, true), (error.Status, error.Type, error.Code, error.RetryAfterSeconds, error.ShouldRetry));
        stuck.Cancel();
        await Eventually.TrueAsync(() => engine.Statistics is { Running: 0, Waiting: 0, BlocksUsed: 0 });
    }

    [Fact]
    public async Task An_engine_that_ends_says_so()
    {
        await using InferenceEngine engine = NewEngine(kvBytes: 64 << 10, queue: 8);
        await engine.DrainAsync(CancellationToken.None);
        ApiError error = Refused(engine, new AdmissionOptions(), Order(4, 4));
        Assert.Equal((503, "unavailable_error", "shutting_down"), (error.Status, error.Type, error.Code));
    }

    [Fact]
    public async Task Prompts_taken_before_one_that_throws_are_given_up()
    {
        await Eventually.TrueAsync(() => _model.Engine.Statistics is { Running: 0, Waiting: 0 });
        await using InferenceEngine engine = NewEngine(kvBytes: 64 << 10, queue: 8);
        GenerationRequest[] orders = [Order(4, 200), Order(4, 200) with { PromptTokens = new[] { -1 } }];
        Assert.Throws<ArgumentException>(() => Admission.Submit(engine, orders, new AdmissionOptions(), "prompt", out _));
        // Nobody reads the first one: were it not cancelled, it would keep the only place in the batch.
        GenerationStream next = engine.Submit(Order(4, 2)).Stream!;
        await Eventually.TrueAsync(() => next.Times.FirstToken != 0);
        await Eventually.TrueAsync(() => engine.Statistics is { Running: 0, Waiting: 0, BlocksUsed: 0 });
    }

    [Fact]
    public async Task What_was_taken_for_an_answer_that_cannot_begin_is_given_up()
    {
        // No prompts to the orders: a mistake of ours, after the engine has taken them and before anybody reads.
        GenerationOrder order = new GenerationSetup(_model).Order(0) with { Requests = [Order(4, 1900) with { IgnoreEos = true }] };
        var head = new AnswerHead("cmpl-1", 0, TinyModel.Name, _model, _model.Policies.Default);
        await Assert.ThrowsAnyAsync<ArgumentException>(() => fixture.Server.Service<AnswerSender>().SendAsync(
            new DefaultHttpContext(), AnswerKind.Completion, head, order, new CompletionWriter(head, default!, order.Prompts, 1), default!, stream: false));
        await ApiClient.PostAsync(fixture.Server.Client, "/v1/completions", """{"prompt":"Once","max_tokens":2}"""); // the engine has seen both
        await Eventually.TrueAsync(() => _model.Engine.Statistics is { Running: 0, Waiting: 0 });
    }

    private static ApiError Refused(InferenceEngine engine, AdmissionOptions options, params GenerationRequest[] orders)
    {
        Assert.Empty(Admission.Submit(engine, orders, options, "prompt", out ApiError? error));
        Assert.NotNull(error);
        return error;
    }

    private static GenerationRequest Order(int prompt, int output) => new() { PromptTokens = new int[prompt], Sampling = new SamplingParams(), MaxTokens = output };

    // Shares the served decoder, whose own engine is idle while this collection's tests run one by one.
    private InferenceEngine NewEngine(long kvBytes, int queue) => new(
        _model.Engine.Model, _model.Engine.DefaultPolicy, new EngineOptions { MaxModelLength = 2048, MaxBatchTokens = _model.Engine.Options.MaxBatchTokens, KvCacheBytes = kvBytes, MaxQueuedRequests = queue, MaxNumSeqs = 1, StreamCapacity = 4 }, TimeProvider.System);
}
