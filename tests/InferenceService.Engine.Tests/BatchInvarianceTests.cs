using System.Collections.Immutable;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>Whatever else is in the batch, whatever happens on the way: a request says what it says alone.</summary>
public sealed class BatchInvarianceTests
{
    private const int Requests = 64;

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(null)]
    public void A_storm_changes_no_token_and_leaves_no_block_owned(int? chunk)
    {
        var weather = new Weather();
        Property.Check(8, seed =>
        {
            using var model = new TinyModel(eos: 7);
            GenerationRequest[] requests = NewRequests(new Random(seed));
            EngineRun.Output[][] alone = RunAlone(model, requests, new FullKvPolicy());
            Storm(model, requests, alone, new FullKvPolicy(), StormOptions(model, chunk), new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    [Theory]
    [InlineData(5, 0)]
    [InlineData(16, 10_000)]
    [InlineData(null, int.MaxValue)]
    public void Nor_does_one_of_mixed_policies(int? chunk, long swapBytes)
    {
        var weather = new Weather();
        Property.Check(8, seed =>
        {
            using var model = new TinyModel(KvGrouping.Head, eos: 7);
            var random = new Random(seed);
            GenerationRequest[] requests = [.. NewRequests(random).Select(request => request with { KvPolicy = random.Next(2) == 0 ? new FullKvPolicy() : null })];
            EngineRun.Output[][] alone = RunAlone(model, requests, new LowestSumPolicy(12));
            EngineOptions options = StormOptions(model, chunk) with { SwapBytes = swapBytes };
            Storm(model, requests, alone, new LowestSumPolicy(12), options, new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    [Theory]
    [InlineData(0, 2, 2, 3)] // LCKV: chunks of 8 tokens in 3 passes stay approximations, so their places matter
    [InlineData(0, 0, 2, 2)] // CLA: rows without logits end at layer 2
    [InlineData(1, 1, 1, 1)] // a cycle, then layers that read down: rows without logits end behind the cycle
    public void Nor_does_one_over_caches_that_layers_share(params int[] sources)
    {
        var weather = new Weather();
        Property.Check(2, seed =>
        {
            using var model = new TinyModel(eos: 7, kvSources: sources);
            GenerationRequest[] requests = NewRequests(new Random(seed));
            EngineRun.Output[][] alone = RunAlone(model, requests, new LckvPolicy());
            Storm(model, requests, alone, new LckvPolicy(), StormOptions(model, null), new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(int.MaxValue)]
    public void Nor_does_one_over_caches_of_which_some_keep_a_window(long swapBytes)
    {
        var weather = new Weather();
        Property.Check(2, seed =>
        {
            using var model = new TinyModel(KvGrouping.Layer, eos: 7, kvSources: [0, 2, 2, 3], windows: [6, 0, 0, 11]);
            GenerationRequest[] requests = NewRequests(new Random(seed));
            EngineRun.Output[][] alone = RunAlone(model, requests, new LckvPolicy());
            Storm(model, requests, alone, new LckvPolicy(), StormOptions(model, null, poolTokens: 76) with { SwapBytes = swapBytes }, new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    /// <summary>Every policy composes with shared caches: streaming masks the chunks, the others observe the last pass.</summary>
    [Theory]
    [InlineData("streaming-llm", KvGrouping.Model, "sink_tokens=2,recent_tokens=9")]
    [InlineData("sim-layer-kv", KvGrouping.Layer, "sink_tokens=2,recent_tokens=9,observed_tokens=4,mode=share")]
    [InlineData("fast-gen", KvGrouping.Head, "")]
    public void Nor_does_one_of_a_paper_over_caches_that_layers_share(string name, KvGrouping grouping, string values)
    {
        var weather = new Weather();
        Property.Check(2, seed =>
        {
            using var model = new TinyModel(grouping, eos: 7, kvSources: [0, 2, 2, 3]);
            IKvPolicy policy = KvPolicyRegistry.Create(
                name, values.Split(',', StringSplitOptions.RemoveEmptyEntries).ToDictionary(pair => pair.Split('=')[0], pair => pair.Split('=')[1]));
            GenerationRequest[] requests = NewRequests(new Random(seed));
            EngineRun.Output[][] alone = RunAlone(model, requests, policy);
            Storm(model, requests, alone, policy, StormOptions(model, null, poolTokens: 76), new Random(seed + 1), weather);
        });
        weather.AssertRough(hitsPrefixes: name != "fast-gen"); // it computes the last 64 tokens of a prompt itself
    }

    [Fact]
    public void Nor_does_one_of_mixed_policies_over_caches_that_layers_share()
    {
        var weather = new Weather();
        Property.Check(2, seed =>
        {
            using var model = new TinyModel(KvGrouping.Head, eos: 7, kvSources: [0, 2, 2, 3]);
            var random = new Random(seed);
            GenerationRequest[] requests = [.. NewRequests(random).Select(request => request with { KvPolicy = random.Next(2) == 0 ? new FullKvPolicy() : null })];
            EngineRun.Output[][] alone = RunAlone(model, requests, new LowestSumPolicy(12));
            EngineOptions options = StormOptions(model, null) with { SwapBytes = 10_000 };
            Storm(model, requests, alone, new LowestSumPolicy(12), options, new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    [Theory]
    [InlineData(5, 0)]
    [InlineData(16, 10_000)]
    [InlineData(null, int.MaxValue)]
    public void Nor_does_one_of_every_policy_there_is(int? chunk, long swapBytes)
    {
        var weather = new Weather();
        Property.Check(6, seed => EveryPolicy(chunk, swapBytes, seed, weather));
        weather.AssertRough();
    }

    /// <summary>Here a sequence enters that shares a block with one that was scheduled before and evicts from it in the same step.</summary>
    [Theory]
    [InlineData(5, 0, 642_081_015)]
    [InlineData(16, 10_000, 1_799_991_636)]
    public void Nor_does_one_in_which_blocks_become_shared_in_the_step_that_writes_them(int? chunk, long swapBytes, int seed) =>
        EveryPolicy(chunk, swapBytes, seed, new Weather());

    private static void EveryPolicy(int? chunk, long swapBytes, int seed, Weather weather)
    {
        using var model = new TinyModel(KvGrouping.Head, eos: 7);
        var random = new Random(seed);
        string[] labels = [.. PolicyCases.Labels];
        GenerationRequest[] requests = [.. NewRequests(random).Select(request => request with { KvPolicy = PolicyCases.Create(labels[random.Next(labels.Length)]) })];
        EngineRun.Output[][] alone = RunAlone(model, requests, new FullKvPolicy());
        EngineOptions options = StormOptions(model, chunk) with { SwapBytes = swapBytes };
        Storm(model, requests, alone, new FullKvPolicy(), options, new Random(seed + 1), weather);
    }

    [Theory]
    [InlineData(0, 0, 2, 2)]
    [InlineData(0, 2, 2, 3)]
    public void Nor_does_one_of_every_policy_over_caches_that_layers_share(params int[] sources)
    {
        var weather = new Weather();
        Property.Check(3, seed =>
        {
            using var model = new TinyModel(KvGrouping.Head, eos: 7, kvSources: sources);
            var random = new Random(seed);
            string[] labels = [.. PolicyCases.Labels];
            GenerationRequest[] requests = [.. NewRequests(random).Select(request => request with { KvPolicy = PolicyCases.Create(labels[random.Next(labels.Length)]) })];
            EngineRun.Output[][] alone = RunAlone(model, requests, new FullKvPolicy());
            EngineOptions options = StormOptions(model, null) with { SwapBytes = random.Next(2) * 1_000_000 };
            Storm(model, requests, alone, new FullKvPolicy(), options, new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    /// <summary>What the storms of one property went through together: a single one may be lucky.</summary>
    internal sealed class Weather
    {
        public long Preemptions { get; set; }

        public long PrefixHits { get; set; }

        public int Cancelled { get; set; }

        public long PackedBlocks { get; set; }

        public long StepsAhead { get; set; }

        public long RefusedSteps { get; set; }

        public void AssertRough(bool hitsPrefixes = true)
        {
            Assert.True(Preemptions > 0, "Nothing was preempted.");
            Assert.True(PrefixHits > 0 || !hitsPrefixes, "No prefix was hit.");
            Assert.True(Cancelled > 0, "Nobody cancelled.");
        }
    }

    internal static EngineRun.Output[][] RunAlone(TinyModel model, GenerationRequest[] requests, IKvPolicy policy) =>
        RunAlone(model, requests, policy, EngineRun.Options(model) with { PrefixCaching = false });

    internal static EngineRun.Output[][] RunAlone(TinyModel model, GenerationRequest[] requests, IKvPolicy policy, EngineOptions options)
    {
        using var run = new EngineRun(model, options, policy);
        return [.. requests.Select(request => Enumerable.Range(0, request.Choices)
            .Select(choice => run.Run(request with { Choices = 1, Sampling = SeedOf(request.Sampling, choice) })[0]).ToArray())];
    }

    private static SamplingParams SeedOf(SamplingParams sampling, int choice) => sampling with { Seed = sampling.Seed + choice };

    /// <summary>The pool holds about two of the longest sequences, so that six in flight must preempt each other.</summary>
    internal static EngineOptions StormOptions(TinyModel model, int? chunk, int poolTokens = 120) =>
        EngineRun.Options(model, poolTokens) with { MaxChunkTokens = chunk, MaxBatchTokens = 48, MaxNumSeqs = 6 };

    internal static void Storm(
        TinyModel model, GenerationRequest[] requests, EngineRun.Output[][] alone, IKvPolicy policy, EngineOptions options, Random random,
        Weather weather, TimeProvider? time = null)
    {
        using var run = new EngineRun(model, options, policy, time);
        var streams = new GenerationStream?[requests.Length];
        var outputs = requests.Select(request => Enumerable.Range(0, request.Choices).Select(_ => new EngineRun.Output()).ToArray()).ToArray();
        int next = 0, steps = 0;
        while (next < requests.Length || run.Engine.Loop.Step() || !run.Engine.Loop.IsIdle)
        {
            Assert.True(++steps < 100_000, "The storm does not end.");
            for (int burst = random.Next(3); burst > 0 && next < requests.Length; burst--, next++)
                streams[next] = run.Submit(requests[next]);
            if (random.Next(20) == 0 && next > 0)
                streams[random.Next(next)]!.Cancel();
            if (random.Next(20) == 0 && next > 0)
                streams[next - 1]!.CancelChoice(requests[next - 1].Choices - 1);
            run.Engine.Loop.Step();
            for (int i = 0; i < next; i++)
                while (streams[i]!.TryRead(out GeneratedToken token))
                    outputs[i][token.Choice].Add(token);
        }

        run.AssertNothingOwned();
        weather.PackedBlocks += run.Engine.Loop.PackedBlocks;
        weather.StepsAhead += run.Engine.Loop.StepsAhead;
        weather.RefusedSteps += run.Engine.RefusedSteps;
        weather.Preemptions += run.Engine.Statistics.Preemptions;
        weather.PrefixHits += run.Engine.Statistics.PrefixHitTokens;
        for (int i = 0; i < requests.Length; i++)
        {
            for (int choice = 0; choice < requests[i].Choices; choice++)
            {
                EngineRun.Output said = outputs[i][choice], expected = alone[i][choice];
                Assert.NotEqual(FinishReason.None, said.Finish);
                weather.Cancelled += said.Finish == FinishReason.Cancelled ? 1 : 0;
                bool whole = said.Finish != FinishReason.Cancelled;
                Assert.Equal(whole ? expected.Finish : FinishReason.Cancelled, said.Finish);
                Assert.Equal(whole ? expected.Tokens : expected.Tokens.Take(said.Tokens.Count), said.Tokens);
            }
        }
    }

    internal static GenerationRequest[] NewRequests(Random random, int count = Requests)
    {
        int[][] stems = [EngineRun.Prompt(24, 1), EngineRun.Prompt(37, 2), EngineRun.Prompt(9, 3)];
        return [.. Enumerable.Range(0, count).Select(i =>
        {
            bool greedy = random.Next(2) == 0;
            int[] prompt = [.. stems[random.Next(3)], .. EngineRun.Prompt(random.Next(12), i)];
            return new GenerationRequest
            {
                PromptTokens = prompt,
                MaxTokens = 1 + random.Next(24),
                Choices = greedy ? 1 : 1 + random.Next(4),
                StopTokenIds = [11],
                IgnoreEos = random.Next(4) == 0,
                Sampling = greedy ? new SamplingParams { Temperature = 0, RepetitionPenalty = random.Next(2) == 0 ? 1 : 1.3f } : NewSampling(random),
            };
        })];
    }

    internal static SamplingParams NewSampling(Random random) => new()
    {
        Temperature = 0.5f + random.NextSingle(),
        TopP = random.Next(2) == 0 ? 1 : 0.9f,
        TopK = random.Next(3) == 0 ? 20 : 0,
        MinP = random.Next(3) == 0 ? 0.02f : 0,
        FrequencyPenalty = random.Next(3) == 0 ? 0.5f : 0,
        PresencePenalty = random.Next(3) == 0 ? -0.5f : 0,
        MinTokens = random.Next(4) == 0 ? 1 : 0,
        BadWords = random.Next(3) == 0 ? [[5], [3, 9]] : ImmutableArray<ImmutableArray<int>>.Empty,
        Seed = random.Next(),
    };
}
