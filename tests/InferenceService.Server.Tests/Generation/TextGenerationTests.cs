using System.Collections.Concurrent;
using InferenceService.Engine;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Generation;

[Collection(ServerCollection.Name)]
public sealed class TextGenerationTests(ServerFixture fixture)
{
    private readonly ServedModel _model = fixture.Server.Service<IModelCatalog>().Models[0];

    [Fact]
    public void A_character_split_over_tokens_arrives_whole()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model).Start(stream);
        var deltas = new List<string>();
        stream.SendText("a😀b");
        while (generation.TryAdvance(out ChoiceText? choice))
        {
            if (choice.Text.Length > 0)
                deltas.Add(choice.Text.ToString());
            choice.MarkSent();
        }

        Assert.Equal(["a", "😀", "b"], deltas);
        Assert.True(generation.IsComplete);
        Assert.Equal("length", generation.Choices[0].FinishReason);
    }

    [Fact]
    public void Bytes_that_never_become_a_character_come_out_at_the_end()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model).Start(stream);
        stream.Send([.. ScriptedStream.Tokens("a😀").Take(3), new GeneratedToken(0, -1, FinishReason.Length, null)]);
        Drain(generation);
        Assert.Equal("a\uFFFD", generation.Choices[0].Text.ToString());
    }

    [Fact]
    public void A_stop_string_over_token_borders_ends_the_choice_and_tells_the_engine()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model) { Stops = ["STOP"] }.Start(stream);
        stream.SendText("go STOP more");
        Drain(generation);
        ChoiceText choice = generation.Choices[0];
        Assert.Equal("go ", choice.Text.ToString());
        Assert.Equal(("stop", "STOP"), (choice.FinishReason, choice.StopString));
        Assert.Equal("go STOP".Length, choice.Generated);
        Assert.Equal([0], stream.CancelledChoices);
        Assert.True(generation.IsComplete);
    }

    [Fact]
    public void Stop_strings_are_ignored_until_min_tokens()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model) { Stops = ["x"], MinTokens = 3 }.Start(stream);
        stream.SendText("axbxc");
        Drain(generation);
        Assert.Equal("axb", generation.Choices[0].Text.ToString());
        Assert.Equal(4, generation.Choices[0].Generated);
    }

    [Fact]
    public void A_stop_token_gives_its_id_and_no_text()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model).Start(stream);
        stream.Send([.. ScriptedStream.Tokens("ab"), new GeneratedToken(0, TinyModel.FirstByteId + 'c', FinishReason.StopToken, null)]);
        Drain(generation);
        ChoiceText choice = generation.Choices[0];
        Assert.Equal(("ab", "stop", TinyModel.FirstByteId + 'c', 3), (choice.Text.ToString(), choice.FinishReason, choice.StopToken, choice.Generated));
    }

    [Fact]
    public void A_stop_token_is_shown_when_the_stop_is_to_be_included()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model) { IncludeStop = true }.Start(stream);
        stream.Send([.. ScriptedStream.Tokens("ab"), new GeneratedToken(0, TinyModel.FirstByteId + 'c', FinishReason.StopToken, null)]);
        Drain(generation);
        Assert.Equal("abc", generation.Choices[0].Text.ToString());
    }

    [Fact]
    public void Offsets_count_code_points_and_begin_after_the_echo()
    {
        var stream = new ScriptedStream();
        var setup = new GenerationSetup(_model) { KeepTokens = true, Echo = PromptEcho.Of(new Prompt([.. ScriptedStream.Tokens("é😀").Select(token => token.TokenId)], "é😀"), _model.Tokenizer, true, listTokens: true) };
        using TextGeneration generation = setup.Start(stream);
        stream.SendText("x😀y");
        Drain(generation);
        ChoiceText choice = generation.Choices[0];
        Assert.Equal("é😀x😀y", choice.Text.ToString());
        Assert.Equal([0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4], choice.Tokens.Select(token => token.Offset));
        Assert.Equal(6, choice.Tokens.Count(token => token.IsPrompt));
    }

    [Fact]
    public async Task Choices_of_several_prompts_are_numbered_and_counted()
    {
        var first = new ScriptedStream();
        var second = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model) { Choices = 2 }.Start(first, second);
        second.SendText("d", choice: 1);
        second.SendText("c");
        Task<bool> wait = generation.WaitAsync(TimeSpan.FromMinutes(1)).AsTask();
        Assert.True(await wait);
        Drain(generation);
        Assert.False(generation.IsComplete);
        first.SendText("b", choice: 1);
        first.SendText("aa");
        Assert.True(await generation.WaitAsync(TimeSpan.FromMinutes(1)));
        Drain(generation);
        Assert.True(generation.IsComplete);
        Assert.Equal(["aa", "b", "c", "d"], generation.Choices.Select(choice => choice.Text.ToString()));
        Assert.Equal(new Usage(4, 5, 0), generation.Usage);
    }

    [Fact]
    public void A_fault_breaks_the_answer_and_cancels_what_still_runs()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model) { Choices = 2 }.Start(stream);
        stream.Send([.. ScriptedStream.Tokens("ab"), new GeneratedToken(1, -1, FinishReason.Error, null)]);
        Drain(generation);
        Assert.True(generation.IsBroken);
        Assert.Equal((500, "internal_error", false), (generation.Failure!.Status, generation.Failure.Code, generation.Failure.ShouldRetry));
        Assert.True(stream.IsCancelled);
    }

    [Fact]
    public void A_client_that_left_gets_no_error()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model).Start(stream);
        Assert.Equal(DisconnectPhase.Queue, generation.Phase);
        stream.Schedule();
        Assert.Equal(DisconnectPhase.Prefill, generation.Phase);
        stream.Send([.. ScriptedStream.Tokens("a")]);
        Drain(generation);
        Assert.Equal(DisconnectPhase.Decode, generation.Phase);
        generation.Cancel(null);
        Drain(generation);
        Assert.True(generation.IsBroken);
        Assert.Null(generation.Failure);
        Assert.True(stream.IsCancelled);
    }

    [Fact]
    public void An_engine_that_is_shut_down_under_a_request_says_so()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model).Start(stream);
        stream.Send(new GeneratedToken(0, -1, FinishReason.Cancelled, null));
        Drain(generation);
        Assert.Equal("shutting_down", generation.Failure!.Code);
    }

    [Fact]
    public async Task A_stream_that_ends_without_its_choices_is_a_fault()
    {
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model).Start(stream);
        stream.Complete();
        await generation.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal("internal_error", generation.Failure!.Code);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_wait_ends_at_its_time_and_can_be_repeated(int prompts)
    {
        var time = new ManualTime();
        ScriptedStream[] streams = [.. Enumerable.Range(0, prompts).Select(_ => new ScriptedStream())];
        using TextGeneration generation = new GenerationSetup(_model, time).Start(streams);
        for (int round = 0; round < 3; round++)
        {
            Task<bool> wait = generation.WaitAsync(TimeSpan.FromSeconds(5)).AsTask();
            time.Advance(TimeSpan.FromSeconds(4.9));
            Assert.False(wait.IsCompleted);
            time.Advance(TimeSpan.FromSeconds(0.2));
            Assert.False(await wait);
        }

        streams[^1].Send([.. ScriptedStream.Tokens("a")]);
        Assert.True(await generation.WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.True(generation.TryAdvance(out ChoiceText? choice));
        Assert.Equal(prompts - 1, choice.Index);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_cancel_ends_every_wait_though_the_engine_hears_nothing_of_it(int prompts)
    {
        ScriptedStream[] streams = [.. Enumerable.Range(0, prompts).Select(_ => new ScriptedStream { IsStuck = true })];
        using TextGeneration generation = new GenerationSetup(_model, new ManualTime()).Start(streams);
        Task<bool> wait = generation.WaitAsync(Timeout.InfiniteTimeSpan).AsTask();
        Assert.False(wait.IsCompleted);
        generation.Cancel(ServerLifecycle.ShuttingDown);
        Assert.True(await wait);
        Assert.True(generation.IsBroken);
        Assert.Equal(ServerLifecycle.ShuttingDown, generation.Failure);
        Assert.All(streams, stream => Assert.True(stream.IsCancelled));
    }

    [Fact]
    public async Task A_timer_of_an_earlier_wait_that_comes_late_does_not_end_the_wait_for_the_engine()
    {
        var time = new LateTimers();
        var stream = new ScriptedStream();
        using TextGeneration generation = new GenerationSetup(_model, time) { Stops = ["STOP"] }.Start(stream);
        Task<bool> wait = generation.WaitAsync(TimeSpan.FromSeconds(5)).AsTask();
        stream.Send([.. ScriptedStream.Tokens("go STOP")]);
        Assert.True(await wait);
        Drain(generation);
        Assert.True(generation.IsComplete);
        Task settling = generation.SettleAsync().AsTask();
        time.Made.Single().Fire();
        await Eventually.TrueAsync(() => time.Made.Count == 2); // it waits on
        Assert.False(settling.IsCompleted);
        stream.Complete();
        await settling;
    }

    [Fact]
    public async Task What_the_cache_held_is_not_waited_for_after_a_cancel_and_no_half_report_is_sent()
    {
        var stream = new ScriptedStream { IsStuck = true };
        using TextGeneration generation = new GenerationSetup(_model) { Stops = ["STOP"] }.Start(stream);
        stream.Send([.. ScriptedStream.Tokens("go STOP")]);
        Drain(generation);
        Assert.True(generation.IsComplete);
        Task settling = generation.SettleAsync().AsTask();
        Assert.False(settling.IsCompleted);
        generation.Cancel(ServerLifecycle.ShuttingDown);
        await settling;
        Assert.Equal(ServerLifecycle.ShuttingDown, generation.Failure);
    }

    private static void Drain(TextGeneration generation)
    {
        while (generation.TryAdvance(out _))
        {
        }
    }

    /// <summary>Timers that fall due when the test says so, whoever has stopped them: their call was on its way.</summary>
    private sealed class LateTimers : TimeProvider
    {
        public ConcurrentQueue<Late> Made { get; } = new();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = new Late(() => callback(state));
            Made.Enqueue(timer);
            return timer;
        }

        internal sealed class Late(Action fire) : ITimer
        {
            public void Fire() => fire();

            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
