using System.Diagnostics;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Completions;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests.Generation;

namespace InferenceService.Server.Tests.Api.Output;

[Collection(ServerCollection.Name)]
public sealed class StreamedAnswerTests(ServerFixture fixture)
{
    private readonly ServedModel _model = fixture.Server.Service<IModelCatalog>().Models[0];
    private readonly ManualTime _time = new();
    private readonly ScriptedStream _engine = new();

    [Fact]
    public async Task Silence_is_filled_with_pings()
    {
        var response = new PipedResponse();
        Task run = Start(response, new StreamingOptions());
        _engine.Send([.. ScriptedStream.Tokens("a")]);
        Assert.Contains("\"text\":\"a\"", await response.TakeNextAsync(), StringComparison.Ordinal);
        for (int i = 0; i < 3; i++)
        {
            await PassAsync(TimeSpan.FromSeconds(15));
            Assert.Equal(": ping\n\n", await response.TakeNextAsync());
        }

        _engine.SendText("b");
        await run;
        string rest = response.Take();
        Assert.Contains("\"text\":\"b\"", rest, StringComparison.Ordinal);
        Assert.EndsWith("data: [DONE]\n\n", rest, StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_pings_when_switched_off()
    {
        var response = new PipedResponse();
        Task run = Start(response, new StreamingOptions { SseHeartbeat = TimeSpan.FromSeconds(-1) });
        _engine.Send([.. ScriptedStream.Tokens("a")]);
        await response.TakeNextAsync();
        _time.Advance(TimeSpan.FromHours(1));
        Assert.Equal("", response.Take());
        _engine.SendText("b");
        await run;
    }

    [Fact]
    public async Task Headers_go_out_early_when_the_first_token_is_late()
    {
        var response = new PipedResponse();
        _engine.Schedule();
        Task run = Start(response, new StreamingOptions());
        await PassAsync(TimeSpan.FromSeconds(10));
        await Eventually.TrueAsync(() => response.Context.Response.ContentType is not null);
        Assert.Equal("text/event-stream; charset=utf-8", response.Context.Response.ContentType);
        Assert.Equal("", response.Take());
        _engine.SendText("b");
        await run;
        Assert.EndsWith("data: [DONE]\n\n", response.Take(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Waiting_too_long_in_the_queue_is_a_503()
    {
        var response = new PipedResponse();
        Task run = Start(response, new StreamingOptions { EarlyHeaders = TimeSpan.FromHours(1) });
        await PassAsync(TimeSpan.FromSeconds(60));
        await run;
        Assert.Contains("\"code\":\"queue_timeout\"", response.Take(), StringComparison.Ordinal);
        Assert.Equal((503, "2"), (response.Context.Response.StatusCode, response.Context.Response.Headers.RetryAfter.ToString()));
        Assert.True(_engine.IsCancelled);
    }

    [Fact]
    public async Task Waiting_too_long_after_early_headers_is_an_event_and_a_cut()
    {
        var response = new PipedResponse();
        Task run = Start(response, new StreamingOptions { SseHeartbeat = TimeSpan.Zero });
        await PassAsync(TimeSpan.FromSeconds(10));
        await Eventually.TrueAsync(() => response.Context.Response.ContentType is not null);
        await PassAsync(TimeSpan.FromSeconds(50));
        await Assert.ThrowsAsync<StreamCutException>(() => run);
        string sent = response.Take();
        Assert.Contains("\"code\":\"queue_timeout\"", sent, StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", sent, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_fault_in_the_middle_is_an_event_and_no_end_mark_unless_configured(bool doneAfterError)
    {
        var response = new PipedResponse();
        Task run = Start(response, new StreamingOptions { DoneAfterError = doneAfterError });
        _engine.Send([.. ScriptedStream.Tokens("a")]);
        await response.TakeNextAsync();
        _engine.Send(new GeneratedToken(0, -1, FinishReason.Error, null));
        if (doneAfterError)
            await run;
        else
            await Assert.ThrowsAsync<StreamCutException>(() => run);
        string sent = response.Take();
        Assert.StartsWith("data: {\"error\":{\"message\":", sent, StringComparison.Ordinal);
        Assert.DoesNotContain("scripted fault", sent, StringComparison.Ordinal);
        Assert.Equal(doneAfterError, sent.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_slow_reader_gets_fewer_larger_events()
    {
        // Every flush waits for the reader here; the timer is the slow client's.
        var response = new PipedResponse(capacity: 2);
        Task run = Start(response, new StreamingOptions { SlowClientTimeout = TimeSpan.FromSeconds(5) });
        _engine.Send([.. ScriptedStream.Tokens("a")]);
        await _time.WaitForTimerAsync(TimeSpan.FromSeconds(5));
        string text = new('c', 500);
        _engine.SendText(text);
        string sent = "";
        while (!sent.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal))
            sent += await response.TakeNextAsync();
        await run;
        Assert.Equal(["a", text, ""], Deltas(sent));
    }

    [Fact]
    public async Task A_client_that_takes_nothing_is_cut_off()
    {
        var response = new PipedResponse(capacity: 2);
        Task run = Start(response, new StreamingOptions { SlowClientTimeout = TimeSpan.FromSeconds(5) });
        _engine.Send([.. ScriptedStream.Tokens("a")]);
        await _time.WaitForTimerAsync(TimeSpan.FromSeconds(5));
        _time.Advance(TimeSpan.FromSeconds(4));
        Assert.False(response.IsAborted);
        _time.Advance(TimeSpan.FromSeconds(2));
        await run;
        Assert.True(response.IsAborted);
    }

    [Fact]
    public async Task The_interval_groups_tokens_after_the_first()
    {
        var response = new PipedResponse();
        _engine.SendText("abcdefgh");
        await Start(response, new StreamingOptions(), interval: 3);
        Assert.Equal(["a", "bcd", "efg", "h", ""], Deltas(response.Take()));
    }

    [Fact]
    public async Task The_first_text_does_not_wait_for_the_interval()
    {
        // Four tokens make the first character.
        var response = new PipedResponse();
        _engine.SendText("😀bcdefgh");
        await Start(response, new StreamingOptions(), interval: 5);
        Assert.Equal(["😀", "bcdef", "gh", ""], Deltas(response.Take()));
    }

    /// <summary>The engine knows what the cache held a step after the text has ended.</summary>
    [Fact]
    public async Task The_last_text_does_not_wait_for_the_report()
    {
        var response = new PipedResponse();
        _engine.SendText("ab");
        Task run = Start(response, new StreamingOptions(), report: true);
        string sent = await response.TakeNextAsync();
        Assert.Equal(["a", "b", ""], Deltas(sent));
        Assert.DoesNotContain("kv_cache", sent, StringComparison.Ordinal);
        Assert.False(run.IsCompleted);
        _engine.Complete();
        await run;
        string rest = response.Take();
        Assert.Contains("\"kv_cache\":{", rest, StringComparison.Ordinal);
        Assert.EndsWith("data: [DONE]\n\n", rest, StringComparison.Ordinal);
    }

    /// <summary>Spans are made when all is over, so that a traced answer costs no more a token.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Writing_a_token_allocates_next_to_nothing(bool traced)
    {
        using var listener = new ActivityListener { ShouldListenTo = source => traced && source.Name == RequestTelemetry.Name, Sample = static (ref _) => ActivitySamplingResult.AllDataAndRecorded };
        ActivitySource.AddActivityListener(listener);
        var response = new PipedResponse(capacity: 1 << 24);
        var options = new AnswerOptions(null, false, false, false, false, false, false, 1);
        using TextGeneration generation = new GenerationSetup(_model, _time).Start(_engine);
        var head = new AnswerHead("chatcmpl-1", 1, "tiny", _model, _model.Policies.Default);
        using RequestTrace trace = fixture.Server.Service<RequestTelemetry>().Begin(response.Context, head, AnswerKind.Chat, new GenerationSetup(_model).Order(1), stream: true);
        Assert.True(!traced || Activity.Current?.OperationName == "chat tiny");
        var writer = new ChatCompletionWriter(head, options, new Prompt([0], null));
        using var events = new EventStream(response.Context, new StreamingOptions(), _time);
        _engine.Send([.. ScriptedStream.Tokens(new string('x', 400))]);
        long allocated = 0;
        for (int i = 0; i < 400; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            Assert.True(generation.TryAdvance(out ChoiceText? choice));
            writer.WriteDelta(events.Begin(), generation, choice);
            events.End();
            choice.MarkSent();
            ValueTask<bool> flush = events.FlushAsync();
            Assert.True(flush.IsCompletedSuccessfully && await flush);
            allocated += i < 200 ? 0 : GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.Contains("\"content\":\"x\"", response.Take(), StringComparison.Ordinal);
        }

        // What there is belongs to the detokenizer.
        Assert.InRange(allocated / 200, 0, 160);
    }

    private static string[] Deltas(string sent) =>
        [.. sent.Split("data: ").Where(data => data.StartsWith('{')).Select(data => JsonDocument.Parse(data).RootElement.GetProperty("choices")[0].GetProperty("text").GetString()!)];

    private Task Start(PipedResponse response, StreamingOptions streaming, int interval = 1, bool report = false)
    {
        TextGeneration generation = new GenerationSetup(_model, _time).Start(_engine);
        var options = new AnswerOptions(null, false, false, false, report, report, false, interval);
        var writer = new CompletionWriter(new AnswerHead("cmpl-1", 1, "tiny", _model, _model.Policies.Default), options, [new Prompt([0], null)], returned: 1);
        return RunAsync();

        async Task RunAsync()
        {
            using (generation)
            {
                using var events = new EventStream(response.Context, streaming, _time);
                await new StreamedAnswer(response.Context, events, generation, writer, options, streaming, new AdmissionOptions(), _time).RunAsync();
            }
        }
    }

    /// <summary>Lets time pass once somebody waits for it.</summary>
    private async Task PassAsync(TimeSpan time)
    {
        await _time.WaitForTimerAsync(time);
        _time.Advance(time);
    }
}
