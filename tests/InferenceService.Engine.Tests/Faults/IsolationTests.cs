using System.Collections.Immutable;
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Faults;

/// <summary>What goes wrong with one request ends that request; those beside it say what they say alone, to the bit.</summary>
public sealed class IsolationTests
{
    private const int Poison = 88;

    [Fact]
    public void A_request_whose_logits_are_not_numbers_fails_alone()
    {
        using var model = new TinyModel();
        Assert.True(model.Weights.TryGet("model.embed_tokens.weight", out Tensor embedding));
        model.Backend.Upload(MemoryMarshal.AsBytes(Enumerable.Repeat(float.NaN, embedding.Columns).ToArray().AsSpan()), embedding.RowRange(Poison, 1));
        AssertAlone(model, new FullKvPolicy(), EngineRun.Request([3, 4, Poison, 5, 6], 20), FinishReason.Error, "the model returned logits that are not numbers");
        AssertAlone(model, new LowestSumPolicy(8), EngineRun.Request([3, 4, Poison, 5, 6], 20), FinishReason.Error, "the model returned logits that are not numbers");
    }

    [Theory]
    [InlineData(ThrowingPolicy.Place.Making)]
    [InlineData(ThrowingPolicy.Place.Watching)]
    [InlineData(ThrowingPolicy.Place.Selecting)]
    [InlineData(ThrowingPolicy.Place.Answering)]
    public void A_request_whose_policy_throws_fails_alone(ThrowingPolicy.Place place)
    {
        using var model = new TinyModel();
        GenerationRequest bad = EngineRun.Request(EngineRun.Prompt(21, 9), 20, new SamplingParams { Seed = 1 }) with { KvPolicy = new ThrowingPolicy(place), Choices = 2 };
        AssertAlone(model, new FullKvPolicy(), bad, FinishReason.Error, null);
    }

    [Fact]
    public void A_request_after_which_no_token_may_follow_fails_alone()
    {
        using var model = new TinyModel();
        int[] next = NaiveDecoder.Greedy(model.Decoder, [1, 2, 3], 3);
        // The first token is free to come; all that could follow it are forbidden.
        ImmutableArray<ImmutableArray<int>> deadEnd = [.. Enumerable.Range(0, TinyModel.Vocabulary).Select(id => ImmutableArray.Create(next[0], id))];
        AssertAlone(model, new FullKvPolicy(), EngineRun.Request([1, 2, 3], 20, new SamplingParams { Temperature = 0, BadWords = deadEnd }),
            FinishReason.NothingAllowed, "no token may follow: every one is masked by the request's own restrictions");
    }

    [Fact]
    public void A_request_whose_cache_the_device_refuses_to_move_fails_alone_and_leaks_nothing()
    {
        using var backend = new FlakyBackend(new CpuBackend(1));
        using var model = new TinyModel(backend: backend);
        using var run = new EngineRun(model, EngineRun.Options(model), new LowestSumPolicy(6));
        int[] prompt = EngineRun.Prompt(24, 1);
        run.Run(EngineRun.Request(prompt, 1)); // its prefix stays, and is copied when written
        backend.RefusesMoves = true;
        GenerationStream bad = run.Submit(EngineRun.Request(prompt, 20)), good = run.Submit(EngineRun.Request(prompt, 20) with { KvPolicy = new FullKvPolicy() });
        run.Finish();
        Assert.Equal(FinishReason.Error, EngineRun.Read(bad)[0].Finish);
        Assert.Contains("no memory to move", bad.Error, StringComparison.Ordinal);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompt, 20), EngineRun.Read(good)[0].Tokens);
        run.AssertNothingOwned();
    }

    [Fact]
    public void A_device_that_is_lost_while_a_policy_is_obeyed_ends_the_engine_and_not_one_request()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model), new ThrowingPolicy(ThrowingPolicy.Place.Selecting, new DeviceException("lost")));
        GenerationStream[] streams = [.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(9, i), 5)))];
        run.Engine.Loop.Run();
        Assert.IsType<DeviceException>(run.Engine.Fault);
        Assert.All(streams, stream => Assert.Equal(FinishReason.Error, EngineRun.Read(stream)[0].Finish));
    }

    [Fact]
    public async Task A_crash_between_schedule_and_publish_ends_every_request_once()
    {
        using var model = new TinyModel();
        var faults = new FaultsOnPurpose();
        using var run = new EngineRun(model, EngineRun.Options(model) with { Faults = faults });
        GenerationStream[] streams = [.. Enumerable.Range(0, 20).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(9, i), 9) with { Choices = 1 + (i % 2) }))];
        for (int step = 0; step < 3; step++)
            run.Engine.Loop.Step();
        faults.OnPublish = () => throw new InvalidOperationException("a crash on purpose");
        Assert.True(run.Engine.Statistics is { Running: > 0, Waiting: > 0 });
        run.Engine.Loop.Run();
        Assert.Equal(EngineState.Dead, run.Engine.State);
        // Who looks for an engine that is stuck must not find one that is dead.
        Assert.True(run.Engine.Statistics is { Running: 0, Waiting: 0 });
        Assert.Null(run.Engine.RunningStep);
        for (int i = 0; i < streams.Length; i++)
        {
            Assert.All(EngineRun.Read(streams[i], 1 + (i % 2)), output => Assert.Equal(FinishReason.Error, output.Finish)); // Add refuses what follows an end
            Assert.Contains("a crash on purpose", streams[i].Error, StringComparison.Ordinal);
            Assert.False(await streams[i].WaitToReadAsync(default));
        }
    }

    /// <summary>One bad request among six good ones, of which each says what it says alone; and nothing stays owned.</summary>
    private static void AssertAlone(TinyModel model, IKvPolicy policy, GenerationRequest bad, FinishReason finish, string? error)
    {
        GenerationRequest[] good = [.. Enumerable.Range(0, 6).Select(i =>
            EngineRun.Request([.. EngineRun.Prompt(8 + 5 * i, i).Select(id => id % Poison)], 15, new SamplingParams { Seed = i, LogitBias = [new LogitBias(Poison, -100)] }) with { Choices = 1 + (i % 2) })];
        EngineRun.Output[][] alone = BatchInvarianceTests.RunAlone(model, good, policy);
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = 7 }, policy);
        GenerationStream[] streams = new GenerationStream[good.Length];
        for (int i = 0; i < 3; i++)
            streams[i] = run.Submit(good[i]);
        run.Engine.Loop.Step();
        GenerationStream failing = run.Submit(bad);
        for (int i = 3; i < good.Length; i++)
            streams[i] = run.Submit(good[i]);
        run.Finish();
        Assert.All(EngineRun.Read(failing, bad.Choices), output => Assert.Equal(finish, output.Finish));
        if (error is not null)
            Assert.Equal(error, failing.Error);
        for (int i = 0; i < good.Length; i++)
            Assert.Equal(alone[i].Select(output => output.Tokens), EngineRun.Read(streams[i], good[i].Choices).Select(output => output.Tokens));
        run.AssertNothingOwned();
    }

    /// <summary>Throws, or gives an impossible answer.</summary>
    public sealed class ThrowingPolicy(ThrowingPolicy.Place place, Exception? failure = null) : IKvPolicy
    {
        /// <summary>Where.</summary>
        public enum Place
        {
            Making,
            Watching,
            Selecting,
            Answering,
        }

        public string Name => "throwing";

        private Exception Failure => failure ?? new InvalidOperationException("on purpose");

        public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Model);

        public KvSelector NewSelector(in KvSelectorContext context) => place == Place.Making ? throw Failure : new Selector(this, place);

        private sealed class Selector(ThrowingPolicy policy, Place place) : KvSelector
        {
            public override bool Gathers => true;

            public override KvWatch Watch(int computed, int tokens) => place == Place.Watching && computed > 0 ? throw policy.Failure : default;

            public override void Select(in KvObservation seen, KeepSet keep)
            {
                if (place == Place.Selecting)
                    throw policy.Failure;
                keep.Restrict(0);
                keep.Keep(0, 1000);
            }
        }
    }
}
