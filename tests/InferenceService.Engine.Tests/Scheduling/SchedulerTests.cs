using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Scheduling;

public sealed class SchedulerTests
{
    [Fact]
    public void Decode_goes_first_and_prompts_share_what_the_budget_leaves()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxBatchTokens = 16, MaxNumSeqs = 4 });
        GenerationStream first = run.Submit(EngineRun.Request(EngineRun.Prompt(10, 1), 30));
        run.Engine.Loop.Step();
        GenerationStream second = run.Submit(EngineRun.Request(EngineRun.Prompt(40, 2), 5));
        for (int step = 0; step < 3; step++)
        {
            // 15 tokens of the prompt and one of the decode fill the budget: the prompt needs three steps, the decode misses none.
            run.Engine.Loop.Step();
            Assert.Single(EngineRun.Read(first)[0].Tokens.Skip(step == 0 ? 1 : 0));
            Assert.Equal(step == 2 ? 1 : 0, EngineRun.Read(second)[0].Tokens.Count);
        }
    }

    [Fact]
    public void A_step_never_exceeds_its_budget_and_the_oldest_always_advances() => Property.Check(15, seed =>
    {
        var random = new Random(seed);
        using var model = new TinyModel();
        EngineOptions options = EngineRun.Options(model, poolTokens: 80 + random.Next(100)) with
        {
            MaxBatchTokens = 5 + random.Next(20),
            MaxNumSeqs = 1 + random.Next(5),
            MaxChunkTokens = random.Next(2) == 0 ? null : 1 + random.Next(9),
        };
        using var run = new EngineRun(model, options);
        var streams = new List<GenerationStream>();
        for (int i = 0; i < 20; i++)
            streams.Add(run.Submit(EngineRun.Request(EngineRun.Prompt(1 + random.Next(50), i), 1 + random.Next(15))));
        // Every step computes or samples for the oldest unfinished sequence, so no more steps are needed than tokens in all.
        int steps = 0, mostSteps = streams.Count * 65;
        while (run.Engine.Loop.Step())
        {
            Assert.InRange(++steps, 1, mostSteps);
            Assert.InRange(run.Engine.Statistics.Running, 0, options.MaxNumSeqs);
            Assert.InRange(run.Engine.Loop.Clock.LastTokens, 1, options.MaxBatchTokens);
        }

        int firstUnfinished = streams.FindIndex(stream => EngineRun.Read(stream)[0].Finish != FinishReason.Length);
        Assert.Equal(-1, firstUnfinished);
        run.AssertNothingOwned();
    });

    [Fact]
    public void Requests_start_in_order_of_arrival_even_when_a_later_one_would_fit()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 64) with { PrefixCaching = false });
        run.Submit(EngineRun.Request(EngineRun.Prompt(40, 1), 4));
        GenerationStream large = run.Submit(EngineRun.Request(EngineRun.Prompt(50, 2), 2));
        GenerationStream small = run.Submit(EngineRun.Request(EngineRun.Prompt(3, 3), 2));
        run.Engine.Loop.Step();
        Assert.Equal((1, 2), (run.Engine.Statistics.Running, run.Engine.Statistics.Waiting));
        run.Finish();
        Assert.True(large.Times.Scheduled <= small.Times.Scheduled);
        Assert.True(large.Times.FirstToken < small.Times.LastToken);
    }

    [Fact]
    public void Lower_priority_numbers_run_first_where_priorities_count()
    {
        using var model = new TinyModel();
        foreach (SchedulingPolicy policy in Enum.GetValues<SchedulingPolicy>())
        {
            using var run = new EngineRun(model, EngineRun.Options(model) with { MaxNumSeqs = 1, Scheduling = policy });
            GenerationStream late = run.Submit(EngineRun.Request(EngineRun.Prompt(3, 1), 3) with { Priority = 5 });
            GenerationStream urgent = run.Submit(EngineRun.Request(EngineRun.Prompt(3, 2), 3) with { Priority = -1 });
            run.Finish();
            Assert.Equal(policy == SchedulingPolicy.Priority, urgent.Times.LastToken < late.Times.FirstToken);
        }
    }

    [Fact]
    public void Under_pressure_the_newest_gives_way_and_comes_back_unchanged()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 64) with { PrefixCaching = false });
        int[][] prompts = [EngineRun.Prompt(20, 1), EngineRun.Prompt(20, 2)];
        GenerationStream[] streams = [.. prompts.Select(prompt => run.Submit(EngineRun.Request(prompt, 30)))];
        run.Finish();
        Assert.True(run.Engine.Statistics.Preemptions > 0);
        Assert.True(streams[0].Times.LastToken < streams[1].Times.LastToken);
        for (int i = 0; i < 2; i++)
            Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompts[i], 30), EngineRun.Read(streams[i])[0].Tokens);
    }

    [Fact]
    public void Choices_share_one_prefill_and_the_blocks_of_the_prompt()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4) with { PrefixCaching = false });
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(21, 1), 6, new SamplingParams { Seed = 5 }) with { Choices = 3 });
        run.Engine.Loop.Step();
        Assert.Equal(3, run.Engine.Statistics.Running);
        Assert.Equal(6, run.Engine.Statistics.BlocksUsed); // 21 tokens, once
        run.Engine.Loop.Step();
        Assert.Equal(8, run.Engine.Statistics.BlocksUsed); // each its own copy of the partial last block
        run.Finish();
        Assert.Equal(21, run.Engine.Statistics.PromptTokens);
        EngineRun.Output[] choices = EngineRun.Read(stream, 3);
        for (int choice = 0; choice < 3; choice++)
            Assert.Equal(run.Run(EngineRun.Request(EngineRun.Prompt(21, 1), 6, new SamplingParams { Seed = 5 + choice }))[0].Tokens, choices[choice].Tokens);
        Assert.Equal(3, choices.Select(choice => string.Join(',', choice.Tokens)).Distinct().Count());
    }

    [Fact]
    public void More_choices_than_places_still_all_finish()
    {
        using var model = new TinyModel();
        foreach (bool prefixes in (bool[])[true, false])
        {
            using var run = new EngineRun(model, EngineRun.Options(model) with { MaxNumSeqs = 2, PrefixCaching = prefixes });
            GenerationRequest request = EngineRun.Request(EngineRun.Prompt(13, 1), 5, new SamplingParams { Seed = 5 }) with { Choices = 5 };
            EngineRun.Output[] choices = run.Run(request);
            for (int choice = 0; choice < 5; choice++)
                Assert.Equal(run.Run(request with { Choices = 1, Sampling = new SamplingParams { Seed = 5 + choice } })[0].Tokens, choices[choice].Tokens);
            run.AssertNothingOwned();
        }
    }

    [Fact]
    public void A_caller_who_does_not_read_pauses_alone_and_loses_nothing()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { StreamCapacity = 4 });
        int[] slowPrompt = EngineRun.Prompt(9, 1), fastPrompt = EngineRun.Prompt(9, 2);
        GenerationStream slow = run.Submit(EngineRun.Request(slowPrompt, 30)), fast = run.Submit(EngineRun.Request(fastPrompt, 30));
        var said = new List<int>();
        while (run.Engine.Loop.Step())
            while (fast.TryRead(out GeneratedToken token))
                said.Add(token.TokenId);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, fastPrompt, 30), said);
        said.Clear();
        do
        {
            Assert.InRange(((Generation)slow).Channel.Unread, 0, 5);
            while (slow.TryRead(out GeneratedToken token))
                said.Add(token.TokenId);
        }
        while (run.Engine.Loop.Step() || ((Generation)slow).Channel.Unread > 0);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, slowPrompt, 30), said);
    }

    [Fact]
    public void Paused_callers_hold_up_neither_places_nor_blocks()
    {
        using var model = new TinyModel();
        // Room for two in the batch, and in the pool for the long prompt alone: stalled callers would fill both.
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 56) with { StreamCapacity = 2, MaxNumSeqs = 2 });
        GenerationStream[] stalled = [.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(20, i), 30)))];
        run.Finish();
        int[] prompt = EngineRun.Prompt(48, 9);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompt, 2), run.Run(EngineRun.Request(prompt, 2))[0].Tokens);
        for (int i = 0; i < 3; i++)
        {
            var said = new List<int>();
            for (bool more = true; more; more = run.Engine.Loop.Step() || ((Generation)stalled[i]).Channel.Unread > 0)
                while (stalled[i].TryRead(out GeneratedToken token))
                    said.Add(token.TokenId);
            Assert.Equal(NaiveDecoder.Greedy(model.Decoder, EngineRun.Prompt(20, i), 30), said);
        }

        run.AssertNothingOwned();
    }
}
