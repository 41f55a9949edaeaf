using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Tests;

/// <summary>The public door, with its thread running.</summary>
public sealed class InferenceEngineTests
{
    private static readonly int[] Prompt = EngineRun.Prompt(13, 3);

    private static InferenceEngine Start(TinyModel model, EngineOptions? options = null) =>
        new(model.Decoder, new FullKvPolicy(), options ?? EngineRun.Options(model), TimeProvider.System);

    private static async Task<(List<int> Tokens, FinishReason Finish)> ReadAsync(GenerationStream stream)
    {
        List<int> tokens = [];
        FinishReason finish = FinishReason.None;
        while (await stream.WaitToReadAsync(default))
        {
            while (stream.TryRead(out GeneratedToken token))
            {
                if (token.TokenId >= 0)
                    tokens.Add(token.TokenId);
                finish = token.Finish;
            }
        }

        return (tokens, finish);
    }

    [Fact]
    public async Task Many_callers_on_many_threads_all_get_what_they_would_get_alone()
    {
        using var model = new TinyModel();
        int[][] expected = [.. Enumerable.Range(0, 8).Select(i => NaiveDecoder.Greedy(model.Decoder, EngineRun.Prompt(5 + i, i), 10))];
        await using InferenceEngine engine = Start(model, EngineRun.Options(model, poolTokens: 100));
        await Parallel.ForAsync(0, 40, async (i, _) =>
        {
            SubmitResult result = engine.Submit(EngineRun.Request(EngineRun.Prompt(5 + i % 8, i % 8), 10));
            (List<int> tokens, FinishReason finish) = await ReadAsync(result.Stream!);
            Assert.Equal(expected[i % 8], tokens);
            Assert.Equal(FinishReason.Length, finish);
            RequestTimes times = result.Stream!.Times;
            Assert.True(times.Arrived <= times.Scheduled && times.Scheduled <= times.FirstToken && times.FirstToken <= times.LastToken);
        });
        await engine.DrainAsync(default);
        Assert.Equal(EngineState.Stopped, engine.State);
        Assert.Equal((0, 0, 0), (engine.Statistics.Running, engine.Statistics.Waiting, engine.Statistics.BlocksUsed));
    }

    [Fact]
    public async Task Draining_finishes_what_was_accepted_and_refuses_the_rest()
    {
        using var model = new TinyModel();
        await using InferenceEngine engine = Start(model);
        GenerationStream accepted = engine.Submit(EngineRun.Request(Prompt, 50)).Stream!;
        Task drained = engine.DrainAsync(default);
        Assert.Equal(Refusal.ShuttingDown, engine.Submit(EngineRun.Request(Prompt, 5)).Refusal);
        await drained;
        (List<int> tokens, FinishReason finish) = await ReadAsync(accepted);
        Assert.Equal((50, FinishReason.Length), (tokens.Count, finish));
    }

    [Fact]
    public async Task Cancelling_the_drain_cancels_what_still_runs()
    {
        using var model = new TinyModel();
        await using InferenceEngine engine = Start(model, EngineRun.Options(model) with { StreamCapacity = 2 });
        GenerationStream stalled = engine.Submit(EngineRun.Request(Prompt, 200)).Stream!; // nobody reads: it can never finish by itself
        using var impatience = new CancellationTokenSource();
        Task drained = engine.DrainAsync(impatience.Token);
        Assert.False(drained.IsCompleted);
        await impatience.CancelAsync();
        await drained;
        Assert.Equal(FinishReason.Cancelled, (await ReadAsync(stalled)).Finish);
    }

    [Fact]
    public async Task A_reader_that_comes_late_wakes_a_parked_engine()
    {
        using var model = new TinyModel();
        await using InferenceEngine engine = Start(model, EngineRun.Options(model) with { StreamCapacity = 4 });
        for (int round = 0; round < 20; round++)
        {
            GenerationStream stream = engine.Submit(EngineRun.Request(Prompt, 60)).Stream!;
            while (((Generation)stream).Channel.Unread < 4)
                await Task.Yield();
            Assert.Equal(60, (await ReadAsync(stream)).Tokens.Count);
        }
    }

    [Fact]
    public async Task A_fault_of_the_loop_ends_every_stream_and_later_requests_are_refused()
    {
        using var model = new TinyModel();
        var clock = new FaultyClock();
        await using var engine = new InferenceEngine(model.Decoder, new FullKvPolicy(), EngineRun.Options(model) with { StreamCapacity = 2 }, clock);
        // Nobody reads them, so that they are still there when the fault comes: some running, some waiting.
        GenerationStream[] streams = [.. Enumerable.Range(0, 20).Select(i => engine.Submit(EngineRun.Request(Prompt, 50))).Select(result => result.Stream!)];
        clock.Arm();
        engine.ResetPrefixCache();
        foreach (GenerationStream stream in streams)
        {
            Assert.Equal(FinishReason.Error, (await ReadAsync(stream)).Finish);
            Assert.Contains("a fault on purpose", stream.Error, StringComparison.Ordinal);
        }

        await engine.DrainAsync(default);
        Assert.Equal(EngineState.Dead, engine.State);
        Assert.IsType<InvalidOperationException>(engine.Fault);
        Assert.Equal(Refusal.EngineDead, engine.Submit(EngineRun.Request(Prompt, 5)).Refusal);
    }

    [Fact]
    public void Refusals_name_the_reason()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 64) with { MaxQueuedRequests = 3, MaxQueuedTokens = 40 });
        Refusal Submit(GenerationRequest request) => run.Engine.Submit(request).Refusal;
        Assert.Equal(64, run.Engine.MaxTokensUnder(run.Engine.DefaultPolicy));
        Assert.Equal(Refusal.ContextTooLong, Submit(EngineRun.Request(Prompt, 244)));
        Assert.Equal(Refusal.NeverFits, Submit(EngineRun.Request(Prompt, 52)));
        Assert.Equal(Refusal.None, Submit(EngineRun.Request(Prompt, 51)));
        Assert.Equal(Refusal.PolicyNotAllowed, Submit(EngineRun.Request(Prompt, 5) with { KvPolicy = new Cache.Policies.EverySecondPolicy(0) }));
        Assert.Equal(Refusal.QueueFull, Submit(EngineRun.Request(Prompt, 5) with { Choices = 3 }));
        Assert.Equal(Refusal.QueueFull, Submit(EngineRun.Request(EngineRun.Prompt(28, 1), 5)));
        Assert.Equal(Refusal.None, Submit(EngineRun.Request(Prompt, 5) with { Choices = 2 }));
        Assert.Equal(Refusal.QueueFull, Submit(EngineRun.Request([1], 5)));
        Assert.Throws<ArgumentException>(() => Submit(EngineRun.Request([], 5)));
        Assert.Throws<ArgumentException>(() => Submit(EngineRun.Request([TinyModel.Vocabulary], 5)));
        Assert.Throws<ArgumentException>(() => Submit(EngineRun.Request([-1], 5)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Submit(EngineRun.Request([1], -1)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Submit(EngineRun.Request([1], 1) with { Choices = 0 }));
        run.Finish();
        Assert.Equal(Refusal.None, Submit(EngineRun.Request(EngineRun.Prompt(50, 1), 5) with { Choices = 5 })); // an empty queue takes anything
    }

    [Fact]
    public void A_longest_request_that_is_accepted_runs_alone_to_its_end()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 64));
        GenerationStream[] streams = [.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(13, i), 51)))];
        run.Finish();
        Assert.All(streams, stream => Assert.Equal(51, EngineRun.Read(stream)[0].Tokens.Count));
        run.AssertNothingOwned();
    }

    [Fact]
    public void Options_that_do_not_fit_the_model_are_refused_by_name()
    {
        using var model = new TinyModel();
        EngineOptions good = EngineRun.Options(model);
        (string Name, EngineOptions Options)[] bad =
        [
            ("MaxNumSeqs", good with { MaxNumSeqs = 0 }), ("MaxNumSeqs", good with { MaxNumSeqs = 65 }), ("MaxBatchTokens", good with { MaxBatchTokens = 15 }),
            ("MaxBatchTokens", good with { MaxBatchTokens = 257 }), ("MaxChunkTokens", good with { MaxChunkTokens = 0 }), ("BlockSize", good with { BlockSize = 0 }),
            ("KvType", good with { KvType = DType.I32 }), ("KvCacheBytes", good with { KvCacheBytes = 10 }), ("StreamCapacity", good with { StreamCapacity = 0 }),
            ("MaxModelLength", good with { MaxModelLength = 0 }), ("SwapBytes", good with { SwapBytes = -1 }), ("MaxQueuedTokens", good with { MaxQueuedTokens = 0 }),
        ];
        foreach ((string name, EngineOptions options) in bad)
            Assert.Contains(name, Assert.Throws<ArgumentException>(() => new EngineRun(model, options)).Message, StringComparison.Ordinal);
        using var clamped = new EngineRun(model, good with { MaxModelLength = 100_000 });
        Assert.Equal(256, clamped.Engine.Options.MaxModelLength);
    }

    [Theory]
    [InlineData(DType.F16)]
    [InlineData(DType.BF16)]
    public void A_pool_of_half_precision_is_as_independent_of_the_batch(DType type)
    {
        using var model = new TinyModel();
        EngineOptions options = EngineRun.Options(model) with { KvType = type };
        using var run = new EngineRun(model, options with { PrefixCaching = false });
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(i => EngineRun.Prompt(7 + 5 * i, i))];
        List<int>[] alone = [.. prompts.Select(prompt => run.Run(EngineRun.Request(prompt, 12))[0].Tokens)];
        using var together = new EngineRun(model, options with { MaxChunkTokens = 3 });
        GenerationStream[] streams = [.. prompts.Select(prompt => together.Submit(EngineRun.Request(prompt, 12)))];
        together.Finish();
        for (int i = 0; i < prompts.Length; i++)
            Assert.Equal(alone[i], EngineRun.Read(streams[i])[0].Tokens);
    }

    /// <summary>Beyond the swap budget a preempted sequence holds nothing, and computes from its first token again.</summary>
    [Theory]
    [InlineData(0L, 0)]
    [InlineData(0L, 3)]
    [InlineData(1_000_000L, 0)]
    public void A_choice_that_ends_while_it_is_preempted_counts_what_it_held(long swapBytes, int stepsAgain)
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { SwapBytes = swapBytes, MaxChunkTokens = 4, PrefixCaching = false }, new StreamingLlmPolicy(4, 12));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(40, 1), 20));
        for (int step = 0; step < 18; step++)
            run.Engine.Loop.Step();
        run.Engine.Loop.PreemptAll();
        for (int step = 0; step < stepsAgain; step++)
            run.Engine.Loop.Step();
        stream.Cancel();
        run.Finish();
        // 10 chunks and 8 tokens; of these the sinks' block, and the last 12 in three.
        Assert.Equal((48, 16), (stream.KvUsage.LogicalTokens, stream.KvUsage.KeptTokens));
        Assert.Equal(4L * run.Engine.Loop.Cache.Format.BlockBytes, stream.KvUsage.Bytes);
        run.AssertNothingOwned();
    }

    [Fact]
    public void A_request_remembers_when_its_choices_were_put_back()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(9, 1), 100) with { Choices = 2 });
        for (int step = 0; step < 3; step++)
            run.Engine.Loop.Step();
        Assert.Empty(stream.Preemptions);
        run.Engine.Loop.PreemptAll();
        Assert.Equal([(0, true), (1, true)], stream.Preemptions.Select(p => (p.Choice, p.Since > 0 && p.Until == 0)).Order());
        run.Engine.Loop.Step();
        run.Engine.Loop.Step();
        Assert.All(stream.Preemptions, p => Assert.True(p.Until >= p.Since));
        for (int i = 0; i < PreemptionSpan.MostKept; i++)
        {
            run.Engine.Loop.PreemptAll();
            run.Engine.Loop.Step();
            run.Engine.Loop.Step();
        }

        Assert.Equal(PreemptionSpan.MostKept, stream.Preemptions.Count);
        Assert.All(stream.Preemptions, p => Assert.True(p.Until >= p.Since));
        run.Finish();
        Assert.All(EngineRun.Read(stream, 2), output => Assert.Equal(100, output.Tokens.Count));
    }

    [Fact]
    public void Steps_blocks_and_the_pool_are_measured_for_metrics()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 64, blockSize: 4));
        run.Submit(EngineRun.Request(EngineRun.Prompt(9, 1), 40));
        run.Engine.Loop.Step();
        Assert.Equal(0.25, run.Engine.PoolFragmentation); // 9 tokens in three blocks of 4
        run.Finish();
        Assert.Equal(0, run.Engine.PoolFragmentation);
        for (int seed = 2; seed < 6; seed++)
            run.Run(EngineRun.Request(EngineRun.Prompt(40, seed), 4)); // the pool holds one of them
        Assert.True(Count(run.Engine.BlockLifetime) > 0);
        Assert.Equal(Count(run.Engine.BlockLifetime), Count(run.Engine.BlockIdleBeforeEviction));
        run.Run(EngineRun.Request(EngineRun.Prompt(40, 5), 4));
        Assert.True(Count(run.Engine.BlockReuseGap) > 0);
        Assert.Equal(Count(run.Engine.StepSeconds), Count(run.Engine.StepHostSeconds));
        Assert.InRange(run.Engine.StepHostSeconds.Sum, 0, run.Engine.StepSeconds.Sum);

        static long Count(Histogram histogram) => Enumerable.Range(0, histogram.Bounds.Length + 1).Sum(histogram.Count);
    }

    [Theory]
    [InlineData(0L)]
    [InlineData(1_000_000L)]
    public void What_is_dropped_again_in_a_replay_is_counted_once(long swapBytes)
    {
        long Evicted(bool preempts)
        {
            using var model = new TinyModel();
            using var run = new EngineRun(model, EngineRun.Options(model) with { SwapBytes = swapBytes, PrefixCaching = false }, new StreamingLlmPolicy(4, 12));
            run.Submit(EngineRun.Request(EngineRun.Prompt(40, 1), 20));
            for (int step = 0; run.Engine.Loop.Step(); step++)
                if (preempts && step is 6 or 12)
                    run.Engine.Loop.PreemptAll();
            return run.Engine.KvPolicies.Single(counters => counters.Name == "streaming-llm").EvictedTokens;
        }

        long plain = Evicted(preempts: false);
        Assert.True(plain > 0);
        Assert.Equal(plain, Evicted(preempts: true));
    }

    [Fact]
    public void What_a_request_held_is_measured_and_counted_by_policy()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { PrefixCaching = false }, new FullKvPolicy());
        var policy = new StreamingLlmPolicy(4, 12);
        long blockBytes = run.Engine.Loop.Cache.Format.BlockBytes;

        GenerationStream full = run.Submit(EngineRun.Request(EngineRun.Prompt(40, 1), 9) with { Choices = 2 });
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(40, 2), 9) with { KvPolicy = policy });
        Assert.Equal(0, full.KvUsage.Bytes);
        run.Finish();
        // Each choice computes 40 + 8 tokens, 12 blocks of 4; the second shares the 10 of the prompt.
        Assert.Equal(new KvUsage("full", 96, 96, 14 * blockBytes, 14 * blockBytes), full.KvUsage);
        // The sinks' block and 12 slots behind 48 tokens; 48 ends a block, so the window needs 3, and the step before it one more.
        Assert.Equal(new KvUsage("streaming-llm", 48, 17, 5 * blockBytes, 12 * blockBytes), stream.KvUsage);
        Assert.Equal(2.4, stream.KvUsage.CompressionRatio, 6);

        KvPolicyCounters counted = run.Engine.KvPolicies.Single(counters => counters.Name == "streaming-llm");
        Assert.Equal((1, 31, 5 * blockBytes, 12 * blockBytes), (counted.Requests, counted.EvictedTokens, counted.Bytes, counted.BytesFull));
        Assert.Equal(1, run.Engine.KvPolicies.Single(counters => counters.Name == "full").CompressionRatio);
        Assert.Equal(0, run.Engine.KvPolicies.Single(counters => counters.Name == "fast-gen").Requests);
    }

    [Theory]
    [InlineData(1024, 1, false)]
    [InlineData(1024, 8, true)]
    [InlineData(60, 8, false)] // too few blocks for all: choices follow one another
    [InlineData(60, 8, true)]
    public void Choices_that_keep_everything_are_not_compressed_however_they_share(int poolTokens, int maxTokens, bool prefixCaching)
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens) with { PrefixCaching = prefixCaching });
        GenerationStream first = run.Submit(EngineRun.Request(EngineRun.Prompt(37, 1), maxTokens) with { Choices = 5 });
        GenerationStream second = run.Submit(EngineRun.Request(EngineRun.Prompt(37, 1), maxTokens) with { Choices = 3 });
        run.Finish();
        Assert.Equal((1, 1), (first.KvUsage.CompressionRatio, second.KvUsage.CompressionRatio));
        Assert.True(first.KvUsage.Bytes > 0);
    }

    [Fact]
    public void Every_registered_policy_is_found_by_its_name()
    {
        Assert.Contains("full", KvPolicyRegistry.Names);
        foreach (string name in KvPolicyRegistry.Names)
            Assert.Equal(name, KvPolicyRegistry.Find(name)!.Name);
        Assert.Null(KvPolicyRegistry.Find("nonesuch"));
        KvPolicyException refusal = Assert.Throws<KvPolicyException>(() => KvPolicyRegistry.Create("nonesuch"));
        Assert.Contains("'nonesuch' is unknown", refusal.Message, StringComparison.Ordinal);
    }

    /// <summary>A clock that fails once on the engine thread: a fault that no request can be blamed for.</summary>
    private sealed class FaultyClock : TimeProvider
    {
        private int _armed;

        public void Arm() => Volatile.Write(ref _armed, 1);

        public override long GetTimestamp() =>
            Thread.CurrentThread.Name?.StartsWith("engine", StringComparison.Ordinal) == true && Interlocked.Exchange(ref _armed, 0) == 1
                ? throw new InvalidOperationException("a fault on purpose")
                : base.GetTimestamp();
    }
}
