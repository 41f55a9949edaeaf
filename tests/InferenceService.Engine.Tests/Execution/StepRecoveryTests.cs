using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Engine.Tests.Faults;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Execution;

/// <summary>Steps that the device refuses: nobody notices, unless it refuses them all.</summary>
public sealed class StepRecoveryTests
{
    private static readonly TimeSpan Break = TimeSpan.FromSeconds(5);

    /// <summary>A step is refused at every one of its operations in turn, with the engine in the middle of prompts, shared prompts and decode.</summary>
    [Theory]
    [InlineData(KvGrouping.Model, null)]
    [InlineData(KvGrouping.Head, null)]
    [InlineData(KvGrouping.Model, 0, 2, 2, 3)]
    public void A_step_that_is_refused_anywhere_changes_no_token(KvGrouping grouping, params int[]? sources)
    {
        using var backend = new FlakyBackend(new CpuBackend(1));
        using var model = new TinyModel(grouping, kvSources: sources, backend: backend);
        IKvPolicy? policy = grouping == KvGrouping.Head ? new LowestSumPolicy(12) : sources is null ? null : new LckvPolicy();
        GenerationRequest[] requests = [.. Enumerable.Range(0, 5).Select(i => EngineRun.Request(EngineRun.Prompt(9 + 7 * i, i), 6, new SamplingParams { Seed = i }) with { Choices = 1 + i % 3 })];
        EngineRun.Output[][] alone = BatchInvarianceTests.RunAlone(model, requests, policy ?? new FullKvPolicy());
        var faults = new FaultsOnPurpose();
        EngineOptions options = Options(model, faults) with { MaxChunkTokens = 16 };
        int operation = 0, steps = 0;
        long refused = 0;
        faults.OnForward = () => backend.OperationsLeft = ++steps % 3 == 0 ? operation++ % 30 : null;
        faults.OnCommit = () => backend.OperationsLeft = null;
        for (int round = 0; round < 10; round++)
        {
            using var run = new EngineRun(model, options, policy, new TestClock());
            GenerationStream[] streams = [.. requests.Select(run.Submit)];
            Finish(run);
            refused += run.Engine.RefusedSteps;
            for (int i = 0; i < requests.Length; i++)
                Assert.Equal(alone[i].Select(output => output.Tokens), EngineRun.Read(streams[i], requests[i].Choices).Select(output => output.Tokens));
            run.AssertNothingOwned();
        }

        Assert.True(refused > 30, $"{refused} steps were refused.");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(null)]
    public void A_storm_of_refused_steps_changes_no_token_and_leaves_no_block_owned(int? chunk)
    {
        var weather = new BatchInvarianceTests.Weather();
        Property.Check(4, seed =>
        {
            using var backend = new FlakyBackend(new CpuBackend(1));
            using var model = new TinyModel(KvGrouping.Head, eos: 7, backend: backend);
            var random = new Random(seed);
            string[] labels = [.. PolicyCases.Labels];
            GenerationRequest[] requests = [.. BatchInvarianceTests.NewRequests(random).Select(request => request with { KvPolicy = PolicyCases.Create(labels[random.Next(labels.Length)]) })];
            EngineRun.Output[][] alone = BatchInvarianceTests.RunAlone(model, requests, new FullKvPolicy());
            var clock = new TestClock();
            var faults = new FaultsOnPurpose
            {
                OnForward = () =>
                {
                    clock.Advance(TimeSpan.FromSeconds(1)); // a circuit that opens is tried again after some steps
                    backend.OperationsLeft = random.Next(40) == 0 ? random.Next(50) : null;
                },
                OnCommit = () =>
                {
                    backend.OperationsLeft = null;
                    if (random.Next(100) == 0)
                        throw new InsufficientMemoryException("at the very end");
                },
            };
            EngineOptions options = BatchInvarianceTests.StormOptions(model, chunk) with
            {
                SwapBytes = random.Next(2) * 1_000_000,
                Faults = faults,
                StepRetryDelay = TimeSpan.Zero,
            };
            BatchInvarianceTests.Storm(model, requests, alone, new FullKvPolicy(), options, random, weather, clock);
        });
        weather.AssertRough();
        Assert.True(weather.RefusedSteps > 20, $"Only {weather.RefusedSteps} steps were refused.");
    }

    [Fact]
    public void A_step_called_ahead_that_is_refused_anywhere_changes_no_token()
    {
        using var backend = new FlakyBackend(new CpuBackend(1), choosesGreedily: true);
        using var model = new TinyModel(backend: backend);
        var faults = new FaultsOnPurpose();
        EngineOptions options = Options(model, faults);
        int[][] prompts = [.. Enumerable.Range(0, 4).Select(i => EngineRun.Prompt(9 + i, i))];
        List<int>[] alone = [.. prompts.Select(prompt => NaiveDecoder.Greedy(model.Decoder, prompt, 30).ToList())];
        long ahead = 0, refused = 0;
        for (int operation = 0; operation < 40; operation++)
        {
            using var run = new EngineRun(model, options, null, new TestClock());
            GenerationStream[] streams = [.. prompts.Select((prompt, i) => run.Submit(EngineRun.Request(prompt, 30 - i)))];
            bool armed = true;
            // Not disarmed when the model has run: what samples behind it may be refused too.
            faults.OnForward = () =>
            {
                bool now = armed && run.Engine.Loop.StepsAhead == 3;
                backend.OperationsLeft = now ? operation : null;
                armed &= !now;
            };
            faults.OnPublish = () => backend.OperationsLeft = null;
            Finish(run);
            (ahead, refused) = (ahead + run.Engine.Loop.StepsAhead, refused + run.Engine.RefusedSteps);
            for (int i = 0; i < prompts.Length; i++)
                Assert.Equal(alone[i].Take(30 - i), EngineRun.Read(streams[i])[0].Tokens);
            run.AssertNothingOwned();
        }

        Assert.True(refused > 5 && ahead > 400, $"{refused} steps were refused, {ahead} called ahead.");
    }

    [Fact]
    public void What_the_device_refuses_to_sample_the_host_samples()
    {
        using var backend = new FlakyBackend(new CpuBackend(1), choosesGreedily: true);
        using var model = new TinyModel(backend: backend);
        var faults = new FaultsOnPurpose { OnCommit = () => backend.OperationsLeft = 0 };
        using var run = new EngineRun(model, Options(model, faults) with { AsyncScheduling = false }, null, new TestClock());
        int[] prompt = EngineRun.Prompt(9, 1);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompt, 20), run.Run(EngineRun.Request(prompt, 20))[0].Tokens);
        Assert.Equal(0, run.Engine.RefusedSteps);
    }

    [Fact]
    public void A_device_that_takes_small_steps_only_gets_small_steps()
    {
        using var model = new TinyModel();
        var faults = new FaultsOnPurpose();
        using var run = new EngineRun(model, Options(model, faults), null, new TestClock());
        int most = 0;
        faults.OnForward = () =>
        {
            RunningStep step = run.Engine.RunningStep!.Value;
            if (step.Tokens > 20)
                throw new InsufficientMemoryException($"{step.Tokens} tokens are too many");
            most = Math.Max(most, step.Tokens);
        };
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(i => EngineRun.Prompt(30 + i, i))];
        GenerationStream[] streams = [.. prompts.Select(prompt => run.Submit(EngineRun.Request(prompt, 60)))];
        Finish(run);
        for (int i = 0; i < prompts.Length; i++)
            Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompts[i], 60), EngineRun.Read(streams[i])[0].Tokens);
        Assert.InRange(most, 6, 20); // all six together in the end: the limit grows again
        Assert.InRange(run.Engine.RefusedSteps, 1, 20);
        Assert.Null(run.Engine.OpenFor);
    }

    [Fact]
    public void A_device_that_refuses_every_step_is_left_alone_and_nobody_is_lost()
    {
        using var model = new TinyModel();
        var faults = new FaultsOnPurpose();
        var clock = new TestClock();
        using var run = new EngineRun(model, Options(model, faults), null, clock);
        GenerationStream[] streams = [.. Enumerable.Range(0, 4).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(20, i), 8)))];
        Assert.True(run.Engine.Loop.Step());
        int tries = 0;
        faults.OnForward = () =>
        {
            tries++;
            throw new InsufficientMemoryException("nothing is left");
        };
        for (int step = 0; step < 3; step++)
        {
            Assert.Null(run.Engine.OpenFor);
            Assert.False(run.Engine.Loop.Step());
        }

        Assert.Equal(1 + 3 * 4, tries); // the first goes past the pipeline; then three steps with three retries each
        Assert.Equal(Break, run.Engine.OpenFor);
        Assert.Equal("nothing is left", run.Engine.DeviceRefusal);
        Assert.Equal(Refusal.DeviceRefuses, run.Engine.Submit(EngineRun.Request([1], 1)).Refusal);
        Assert.False(run.Engine.Loop.Step());
        Assert.Equal(13, tries); // left alone

        streams[3].Cancel();
        Assert.False(run.Engine.Loop.Step());
        Assert.Equal(FinishReason.Cancelled, EngineRun.Read(streams[3])[0].Finish); // who leaves is let go

        clock.Advance(Break);
        Assert.Equal(TimeSpan.Zero, run.Engine.OpenFor);
        Assert.False(run.Engine.Loop.Step()); // the probe, and nobody's row, which tells that it is the device
        Assert.Equal(15, tries);
        Assert.Equal(Break, run.Engine.OpenFor);

        faults.OnForward = null;
        clock.Advance(Break);
        Assert.True(run.Engine.Loop.Step());
        Assert.Equal(1, run.Engine.Loop.Clock.LastTokens);
        Assert.Null(run.Engine.OpenFor);
        Assert.Equal(Refusal.None, run.Engine.Submit(EngineRun.Request([1], 1)).Refusal);
        Finish(run);
        for (int i = 0; i < 3; i++)
            Assert.Equal(NaiveDecoder.Greedy(model.Decoder, EngineRun.Prompt(20, i), 8), EngineRun.Read(streams[i])[0].Tokens);
        run.AssertNothingOwned();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_circuit_that_opened_closes_without_any_request_once_the_device_works(bool stepsOfOneToken)
    {
        using var model = new TinyModel();
        var faults = new FaultsOnPurpose { OnForward = static () => throw new InsufficientMemoryException() };
        var clock = new TestClock();
        EngineOptions options = Options(model, faults);
        using var run = new EngineRun(model, stepsOfOneToken ? options with { MaxNumSeqs = 1, MaxBatchTokens = 1, MaxChunkTokens = 1 } : options, null, clock);
        GenerationStream stream = run.Submit(EngineRun.Request([1, 2, 3], 4));
        for (int step = 0; step < 3; step++)
            run.Engine.Loop.Step();
        stream.Cancel();
        run.Engine.Loop.Step();
        Assert.True(run.Engine.Loop.IsIdle);
        clock.Advance(Break);
        Assert.False(run.Engine.Loop.Step());
        Assert.Equal(Break, run.Engine.OpenFor);
        faults.OnForward = null;
        clock.Advance(Break);
        Assert.False(run.Engine.Loop.Step());
        Assert.Null(run.Engine.OpenFor);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, [1, 2, 3], 4), run.Run(EngineRun.Request([1, 2, 3], 4))[0].Tokens);
    }

    [Fact]
    public void A_request_that_the_device_refuses_even_alone_ends_alone()
    {
        using var model = new TinyModel();
        var faults = new FaultsOnPurpose();
        var clock = new TestClock();
        using var run = new EngineRun(model, Options(model, faults), null, clock);
        GenerationStream bad = run.Submit(EngineRun.Request(EngineRun.Prompt(20, 1), 8));
        Assert.True(run.Engine.Loop.Step());
        GenerationStream good = run.Submit(EngineRun.Request(EngineRun.Prompt(20, 2), 8));
        // It is the older one, so every step has it, but for the row of nobody's that follows its probe.
        int probes = 0;
        faults.OnForward = () =>
        {
            if (run.Engine.OpenFor is null ? bad.Error is null : probes++ == 0)
                throw new InsufficientMemoryException("its table is too long");
        };
        for (int step = 0; step < 3; step++)
            run.Engine.Loop.Step();
        Assert.Equal(Break, run.Engine.OpenFor);
        clock.Advance(Break);
        run.Engine.Loop.Step();
        Assert.Equal(FinishReason.Error, EngineRun.Read(bad)[0].Finish);
        Assert.Equal("the device refuses even one token of it: its table is too long", bad.Error);
        Assert.Null(run.Engine.OpenFor);
        Finish(run);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, EngineRun.Prompt(20, 2), 8), EngineRun.Read(good)[0].Tokens);
        run.AssertNothingOwned();
    }

    [Fact]
    public void What_is_no_refusal_ends_the_engine()
    {
        using var model = new TinyModel();
        foreach (Exception fault in (Exception[])[new InvalidOperationException("a bug"), new DeviceException("lost")])
        {
            var faults = new FaultsOnPurpose { OnForward = () => throw fault };
            using var run = new EngineRun(model, Options(model, faults), null, new TestClock());
            GenerationStream stream = run.Submit(EngineRun.Request([1, 2, 3], 4));
            run.Engine.Loop.Run();
            Assert.Equal(EngineState.Dead, run.Engine.State);
            Assert.Same(fault, run.Engine.Fault);
            Assert.Equal(FinishReason.Error, EngineRun.Read(stream)[0].Finish);
        }
    }

    private static EngineOptions Options(TinyModel model, FaultsOnPurpose faults) =>
        EngineRun.Options(model) with { Faults = faults, StepRetryDelay = TimeSpan.Zero, CircuitBreak = Break };

    private static void Finish(EngineRun run)
    {
        int steps = 0;
        do
        {
            Assert.True(++steps < 10_000, "The engine does not finish.");
            run.Engine.Loop.Step();
        }
        while (!run.Engine.Loop.IsIdle);
    }
}
