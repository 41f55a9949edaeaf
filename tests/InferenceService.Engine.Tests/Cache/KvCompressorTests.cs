using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache;

/// <summary>Test policies run through the whole engine and are held against a dense masked forward pass.</summary>
public sealed class KvCompressorTests
{
    private const int Generated = 30;
    private static readonly int[] Prompt = EngineRun.Prompt(41, 4);

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(null)]
    public void Every_second_token_of_one_head_equals_a_dense_mask(int? chunk)
    {
        const int group = 2;
        using var model = new TinyModel(KvGrouping.Head);
        var recorder = new Recorder();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = chunk }, new EverySecondPolicy(group, recorder));
        AssertEqualsDense(model, run, recorder);
        Assert.All(recorder.Kept(group, Prompt.Length + 5), position => Assert.Equal(0, position % 2));
    }

    [Theory]
    [InlineData(5, 1)]
    [InlineData(5, null)]
    [InlineData(16, 7)]
    public void The_most_attended_tokens_equal_a_dense_mask(int budget, int? chunk)
    {
        using var model = new TinyModel(KvGrouping.Head);
        var recorder = new Recorder();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = chunk }, new LowestSumPolicy(budget, recorder));
        AssertEqualsDense(model, run, recorder);
    }

    [Theory]
    [InlineData(0, 8, 4)]
    [InlineData(3, 10, 4)]
    [InlineData(4, 9, 3)]
    [InlineData(6, 1, 16)]
    public void A_dropped_range_equals_a_dense_mask(int sinks, int window, int blockSize)
    {
        using var model = new TinyModel(KvGrouping.Layer);
        var recorder = new Recorder();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: blockSize), new SinkWindowPolicy(1, sinks, window, recorder));
        AssertEqualsDense(model, run, recorder);
    }

    [Fact]
    public void Gathered_blocks_return_to_the_pool()
    {
        using var model = new TinyModel(KvGrouping.Head);
        EngineOptions options = EngineRun.Options(model, blockSize: 4) with { PrefixCaching = false };
        using var run = new EngineRun(model, options, new EverySecondPolicy(0));
        run.Submit(EngineRun.Request(Prompt, Generated));
        run.Engine.Loop.Step();
        // 41 tokens are 11 blocks a head; 21 even positions of the first head are 6.
        Assert.Equal((3 * 11) + 6, run.Engine.Loop.Cache.Blocks.Used);
        run.Finish();
        run.AssertNothingOwned();
    }

    [Fact]
    public void A_dropped_range_holds_constant_memory()
    {
        using var model = new TinyModel(KvGrouping.Layer);
        EngineOptions options = EngineRun.Options(model, blockSize: 4) with { PrefixCaching = false };
        using var run = new EngineRun(model, options, new SinkWindowPolicy(1, 3, 10));
        run.Submit(EngineRun.Request(Prompt, 100));
        for (int token = 0; token < 90; token++)
        {
            run.Engine.Loop.Step();
            int full = (Prompt.Length + token + 3) / 4;
            // ceil(S / B) + ceil((R + 1) / B) + 1, as kv-policies 2.3 bounds it.
            Assert.InRange(run.Engine.Loop.Cache.Blocks.Used - full, 1, 1 + 3 + 1);
        }
    }

    [Theory]
    [InlineData("every second")]
    [InlineData("lowest sum")]
    [InlineData("sink window")]
    public void Poison_in_dead_slots_and_free_blocks_never_reaches_the_output(string kind)
    {
        IKvPolicy policy = kind switch
        {
            "every second" => new EverySecondPolicy(1),
            "lowest sum" => new LowestSumPolicy(8),
            _ => new SinkWindowPolicy(0, 3, 9),
        };
        using var model = new TinyModel(kind == "sink window" ? KvGrouping.Layer : KvGrouping.Head);
        EngineOptions options = EngineRun.Options(model) with { MaxChunkTokens = 9 };
        using var clean = new EngineRun(model, options, policy);
        using var run = new EngineRun(model, options, policy);
        GenerationRequest request = EngineRun.Request(Prompt, Generated, new SamplingParams { Temperature = 0, TopLogprobs = 0 });
        EngineRun.Output expected = clean.Run(request)[0];
        GenerationStream stream = run.Submit(request);
        var poison = new Poison(run.Engine.Loop.Cache, model.Backend);
        while (run.Engine.Loop.Step())
            poison.Spread(((Generation)stream).Sequences.Select(sequence => sequence.Cache));
        EngineRun.Output output = EngineRun.Read(stream)[0];
        Assert.Equal(expected.Tokens, output.Tokens);
        Assert.Equal(expected.Logprobs.Select(l => l!.Logprob), output.Logprobs.Select(l => l!.Logprob));
        Assert.True(poison.Written > 100);
    }

    [Fact]
    public void Sums_follow_their_slots()
    {
        using var model = new TinyModel(KvGrouping.Head);
        var recorder = new Recorder();
        using var run = new EngineRun(model, EngineRun.Options(model), new LowestSumPolicy(7, recorder));
        int[] text = [.. Prompt, .. run.Run(EngineRun.Request(Prompt, Generated))[0].Tokens];
        Assert.NotEmpty(recorder.Sums);
        foreach (IGrouping<int, KeyValuePair<(int Computed, int Lane, int Position), float>> step in recorder.Sums.GroupBy(entry => entry.Key.Computed))
        {
            var dense = new DenseReference(model, text.AsSpan(0, step.Key), recorder.Mask(model, Prompt.Length));
            foreach (((_, int lane, int position), float sum) in step)
                Assert.Equal(dense.ColumnSums[lane][position], sum, 1e-3);
        }
    }

    [Fact]
    public void A_cached_prefix_survives_the_compression_of_one_of_its_holders()
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 200), new LowestSumPolicy(7));
        GenerationRequest full = EngineRun.Request(Prompt, 20) with { KvPolicy = new FullKvPolicy() };
        EngineRun.Output alone = run.Run(full)[0];
        GenerationStream compressed = run.Submit(EngineRun.Request(Prompt, 20)), sharing = run.Submit(full);
        run.Finish();
        Assert.Equal(alone.Tokens, EngineRun.Read(sharing)[0].Tokens);
        Assert.Equal(40, sharing.CachedTokens);
        Assert.Equal(0, compressed.CachedTokens); // its sums need every prompt token
        run.AssertNothingOwned();
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(0)]
    public void Preemption_chunks_and_company_change_nothing(long swapBytes)
    {
        using var model = new TinyModel(KvGrouping.Head);
        // Two that keep everything grow until the compressed ones must give way in the middle of their decode.
        GenerationRequest[] requests =
        [
            .. Enumerable.Range(0, 10).Select(i => EngineRun.Request(EngineRun.Prompt(10 + 2 * i, i), i < 2 ? 50 : 30, new SamplingParams
            {
                Temperature = i % 2, Seed = i, TopLogprobs = 2,
            }) with { Choices = i == 5 ? 3 : 1, KvPolicy = i < 2 ? new FullKvPolicy() : null }),
        ];
        using var roomy = new EngineRun(model, EngineRun.Options(model), new LowestSumPolicy(9));
        EngineRun.Output[][] alone = [.. requests.Select(roomy.Run)];

        var policy = new LowestSumPolicy(9);
        EngineOptions tight = EngineRun.Options(model, poolTokens: 100) with { MaxChunkTokens = 7, SwapBytes = swapBytes };
        using var run = new EngineRun(model, tight, policy);
        GenerationStream[] streams = [.. requests.Select(run.Submit)];
        bool preemptedInDecode = false;
        while (run.Engine.Loop.Step())
            preemptedInDecode |= streams.Skip(2).Any(stream => ((Generation)stream).Sequences.Any(sequence => sequence.State == SequenceState.Waiting && sequence.GeneratedCount > 3));
        Assert.True(preemptedInDecode);
        // A replay begins with a new selector; a swapped sequence keeps the one it has.
        Assert.Equal(swapBytes == 0, policy.Selectors > requests.Skip(2).Sum(request => request.Choices));
        for (int i = 0; i < requests.Length; i++)
        {
            EngineRun.Output[] said = EngineRun.Read(streams[i], requests[i].Choices);
            for (int choice = 0; choice < said.Length; choice++)
            {
                Assert.Equal(alone[i][choice].Tokens, said[choice].Tokens);
                Assert.Equal(alone[i][choice].Logprobs.Select(l => l!.Logprob), said[choice].Logprobs.Select(l => l!.Logprob));
            }
        }

        run.AssertNothingOwned();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_policy_that_throws_ends_its_own_request_only(bool whenWatching)
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model), new ThrowingPolicy(whenWatching));
        GenerationStream failing = run.Submit(EngineRun.Request(Prompt, 20));
        GenerationStream healthy = run.Submit(EngineRun.Request(Prompt, 20) with { KvPolicy = new FullKvPolicy() });
        run.Finish();
        Assert.Equal(FinishReason.Error, EngineRun.Read(failing)[0].Finish);
        Assert.Equal("KV policy throwing: no answer", failing.Error);
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, Prompt, 20), EngineRun.Read(healthy)[0].Tokens);
        run.AssertNothingOwned();
    }

    private static void AssertEqualsDense(TinyModel model, EngineRun run, Recorder recorder)
    {
        EngineRun.Output output = run.Run(EngineRun.Request(Prompt, Generated, new SamplingParams { Temperature = 0, TopLogprobs = 0 }))[0];
        int[] text = [.. Prompt, .. output.Tokens];
        var dense = new DenseReference(model, text.AsSpan(0, text.Length - 1), recorder.Mask(model, Prompt.Length));
        var full = new DenseReference(model, text.AsSpan(0, text.Length - 1), (_, _, _, _) => true);
        double difference = 0;
        for (int i = 0; i < Generated; i++)
        {
            int position = Prompt.Length + i - 1;
            Assert.Equal(dense.Logprob(position, output.Tokens[i]), output.Logprobs[i]!.Logprob, 1e-4);
            Assert.Equal(dense.Logits[position].Max(), dense.Logits[position][output.Tokens[i]], 1e-4);
            difference = Math.Max(difference, Math.Abs(full.Logprob(position, output.Tokens[i]) - output.Logprobs[i]!.Logprob));
        }

        Assert.True(difference > 1e-2, "The mask makes no difference: the test proves nothing.");
        run.AssertNothingOwned();
    }

    private sealed class ThrowingPolicy(bool whenWatching) : IKvPolicy
    {
        public string Name => "throwing";

        public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Model);

        public KvSelector NewSelector(in KvSelectorContext context) => new Selector(whenWatching);

        private sealed class Selector(bool whenWatching) : KvSelector
        {
            public override KvWatch Watch(int computed, int tokens) => whenWatching ? throw new InvalidOperationException("no answer") : default;

            public override void Select(in KvObservation seen, KeepSet keep) => throw new InvalidOperationException("no answer");
        }
    }
}
