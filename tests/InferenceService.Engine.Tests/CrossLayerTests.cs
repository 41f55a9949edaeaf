using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>Models whose layers share caches: prompts in fixed chunks, passes in the budget, prefixes by whole chunks.</summary>
public sealed class CrossLayerTests
{
    private static readonly int[] Cyclic = [0, 2, 2, 3];
    private static readonly int[] Prompt = EngineRun.Prompt(29, 4);

    /// <summary>Chunks of as many tokens as passes: exact.</summary>
    private static EngineOptions Exact(TinyModel model) => EngineRun.Options(model, blockSize: 3) with { PromptChunkTokens = 3 };

    [Fact]
    public void In_exact_chunks_it_says_what_it_says_token_by_token()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        using var run = new EngineRun(model, Exact(model), new LckvPolicy());
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, Prompt, 40), run.Run(EngineRun.Request(Prompt, 40))[0].Tokens);
        run.AssertNothingOwned();
    }

    [Fact]
    public void A_prefix_hit_has_the_bits_of_a_cold_run_and_covers_whole_chunks_of_the_prompt_only()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        EngineOptions options = EngineRun.Options(model) with { PromptChunkTokens = 8 };
        GenerationRequest longer = EngineRun.Request([.. Prompt, .. EngineRun.Prompt(9, 1)], 6, new SamplingParams { Temperature = 0, TopLogprobs = 5 });
        using var cold = new EngineRun(model, options);
        EngineRun.Output expected = cold.Run(longer)[0];
        using var warm = new EngineRun(model, options);
        EngineRun.Output first = warm.Run(EngineRun.Request(Prompt, 12))[0];
        EngineRun.Output again = warm.Run(longer)[0];
        Assert.Equal(24, warm.Engine.Statistics.PrefixHitTokens); // of 29 tokens three chunks of 8
        Assert.Equal(expected.Tokens, again.Tokens);
        Assert.Equal(expected.Logprobs.SelectMany(row => row!.TopLogprobs), again.Logprobs.SelectMany(row => row!.TopLogprobs));

        // What it generated was computed token by token, which a prompt of the same tokens is not.
        warm.Run(EngineRun.Request([.. Prompt, .. first.Tokens], 1));
        Assert.Equal(24 + 24, warm.Engine.Statistics.PrefixHitTokens);
    }

    [Fact]
    public void Another_chunk_size_is_another_approximation()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        float[] LastRow(int chunk)
        {
            using var run = new EngineRun(model, EngineRun.Options(model) with { PromptChunkTokens = chunk });
            return run.Run(EngineRun.Request(Prompt, 1, new SamplingParams { Temperature = 0, TopLogprobs = 20 }))[0].Logprobs[0]!.TopLogprobs;
        }

        Assert.Equal(LastRow(8), LastRow(8));
        Assert.NotEqual(LastRow(8), LastRow(16));
    }

    [Fact]
    public void The_step_budget_counts_passes()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        // 8 tokens through 2 of 4 layers three times: 8 · (4 + 2 · 2) / 4 = 16.
        Assert.Equal(16, model.Decoder.Layout.CostOf(8));
        Assert.Equal(1, model.Decoder.Layout.CostOf(1));
        using var run = new EngineRun(model, EngineRun.Options(model) with { PromptChunkTokens = 8, MaxBatchTokens = 40 });
        for (int i = 0; i < 5; i++)
            run.Submit(EngineRun.Request(EngineRun.Prompt(8, i), 4));
        run.Engine.Loop.Step();
        Assert.Equal(16, run.Engine.Loop.Clock.LastTokens); // two chunks cost 32, a third would cost 48
        run.Engine.Loop.Step();
        Assert.Equal(2 + 16, run.Engine.Loop.Clock.LastTokens);
        run.Finish();
    }

    [Fact]
    public void A_chunk_that_alone_exceeds_the_budget_goes_alone()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        using var run = new EngineRun(model, EngineRun.Options(model) with { PromptChunkTokens = 8, MaxBatchTokens = 8, MaxNumSeqs = 8 });
        GenerationStream[] streams = [.. Enumerable.Range(0, 4).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(20 + i, i), 8)))];
        run.Finish();
        Assert.All(streams, stream => Assert.Equal(8, EngineRun.Read(stream)[0].Tokens.Count));
        run.AssertNothingOwned();
    }

    [Fact]
    public void Prompt_log_probabilities_come_chunk_by_chunk()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        float[][] rows = NaiveDecoder.Run(model.Decoder, Prompt);
        using var run = new EngineRun(model, Exact(model));
        GenerationStream stream = run.Submit(EngineRun.Request(Prompt, 1, new SamplingParams { Temperature = 0, PromptLogprobs = 0 }));
        GenerationStream other = run.Submit(EngineRun.Request(EngineRun.Prompt(5, 5), 30));
        run.Finish();
        for (int i = 1; i < Prompt.Length; i++)
        {
            double sum = rows[i - 1].Sum(logit => Math.Exp(logit));
            Assert.Equal(rows[i - 1][Prompt[i]] - Math.Log(sum), stream.PromptLogprobs![i]!.Logprob, 4);
        }

        Assert.Equal(30, EngineRun.Read(other)[0].Tokens.Count);
    }

    [Fact]
    public void Memory_is_that_of_the_layers_that_are_read()
    {
        using var shared = new TinyModel(kvSources: [0, 2, 2, 3]);
        using var own = new TinyModel(kvSources: [0, 1, 2, 3]);
        Assert.Equal(4 * shared.PoolBytes(100, 4), 3 * own.PoolBytes(100, 4));
        Assert.Equal(3, KvLayout.Of(shared.Config, KvGrouping.Layer).Groups);
    }

    [Fact]
    public void A_prompt_chunk_that_does_not_fit_is_refused_when_the_engine_starts()
    {
        using var model = new TinyModel(kvSources: Cyclic);
        string Refusal(EngineOptions options) =>
            Assert.Throws<ArgumentException>(() => new InferenceEngine(model.Decoder, new FullKvPolicy(), options, TimeProvider.System, startThread: false)).Message;

        EngineOptions options = EngineRun.Options(model);
        Assert.Equal("PromptChunkTokens is 52; allowed: 4 to 48.", Refusal(options with { PromptChunkTokens = 52 })); // 64 logit rows less 16 sequences
        Assert.Equal("PromptChunkTokens is 10; allowed: multiples of BlockSize (4) up to 48.", Refusal(options with { PromptChunkTokens = 10 }));
    }

    [Fact]
    public void Layers_that_only_sliding_layers_read_keep_their_window_and_say_the_same()
    {
        var policy = new LckvPolicy();
        using var model = new TinyModel(KvGrouping.Layer, kvSources: [0, 1, 2, 2], windows: [6, 11, 0, 0]);
        Assert.Equal(KvGrouping.Layer, policy.Layout(model.Config).Grouping);
        using EngineRun whole = new(model, EngineRun.Options(model)), trimmed = new(model, EngineRun.Options(model), policy);
        GenerationRequest request = EngineRun.Request(Prompt, 60);
        GenerationStream stream = trimmed.Submit(request);
        for (int step = 0; step < 41; step++)
            trimmed.Engine.Loop.Step();

        // 29 + 40 tokens fill 18 blocks of 4 of the third layer; 5 and 10 cached tokens of the others lie in at most 2 and 4.
        Assert.InRange(trimmed.Engine.Loop.Cache.Blocks.Used, 18 + 2 + 3, 18 + 2 + 4);
        trimmed.Finish();
        Assert.Equal(whole.Run(request)[0].Tokens, EngineRun.Read(stream)[0].Tokens);
        trimmed.AssertNothingOwned();
    }

    [Fact]
    public void Policy_lckv_wants_a_checkpoint_that_shares()
    {
        using var plain = new TinyModel();
        using var shared = new TinyModel(kvSources: [0, 0]);
        var policy = KvPolicyRegistry.Create("lckv");
        Assert.Contains("in this one each layer has its own", Assert.Throws<CheckpointException>(() => policy.Layout(plain.Config)).Message, StringComparison.Ordinal);
        Assert.Equal(1, policy.Layout(shared.Config).OwnerLayers);
    }
}
