using System.Collections.Immutable;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

public sealed class EngineLoopTests
{
    private static readonly int[] Prompt = EngineRun.Prompt(13, 3);

    [Fact]
    public void Greedy_output_equals_the_naive_loop()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        EngineRun.Output output = run.Run(EngineRun.Request(Prompt, 20))[0];
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, Prompt, 20), output.Tokens);
        Assert.Equal(FinishReason.Length, output.Finish);
        run.AssertNothingOwned();
    }

    [Fact]
    public void A_full_batch_equals_the_naive_loop_row_by_row()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = 5 });
        int[][] prompts = [.. Enumerable.Range(0, 10).Select(i => EngineRun.Prompt(5 + 3 * i, i))];
        GenerationStream[] streams = [.. prompts.Select(prompt => run.Submit(EngineRun.Request(prompt, 12)))];
        run.Finish();
        for (int i = 0; i < prompts.Length; i++)
            Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompts[i], 12), EngineRun.Read(streams[i])[0].Tokens);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(16)]
    public void Block_size_and_grouping_change_nothing(int blockSize)
    {
        var outputs = new List<List<int>>();
        foreach (KvGrouping grouping in Enum.GetValues<KvGrouping>())
        {
            using var model = new TinyModel(grouping);
            using var run = new EngineRun(model, EngineRun.Options(model, blockSize: blockSize));
            outputs.Add(run.Run(EngineRun.Request(Prompt, 20))[0].Tokens);
            Assert.Equal(NaiveDecoder.Greedy(model.Decoder, Prompt, 20), outputs[^1]);
        }

        Assert.All(outputs, tokens => Assert.Equal(outputs[0], tokens));
    }

    [Fact]
    public void A_request_for_log_probabilities_of_its_prompt_asks_no_prefix()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4));
        run.Run(EngineRun.Request(Prompt, 3));
        run.Run(EngineRun.Request(Prompt, 3, new SamplingParams { Temperature = 0, PromptLogprobs = 1 }));
        Assert.Equal((13L, 0L), (run.Engine.Statistics.PrefixQueryTokens, run.Engine.Statistics.PrefixHitTokens));
    }

    [Fact]
    public void A_prefix_hit_computes_less_and_says_the_same()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4));
        GenerationRequest request = EngineRun.Request(Prompt, 10);
        GenerationStream cold = run.Submit(request);
        run.Finish();
        GenerationStream warm = run.Submit(request);
        run.Engine.Loop.Step();
        Assert.Equal(1, run.Engine.Loop.Clock.LastTokens); // 12 of 13 tokens are cached
        run.Finish();
        Assert.Equal((0, 12), (cold.CachedTokens, warm.CachedTokens));
        Assert.Equal((26L, 12L), (run.Engine.Statistics.PrefixQueryTokens, run.Engine.Statistics.PrefixHitTokens));
        Assert.Equal(EngineRun.Read(cold)[0].Tokens, EngineRun.Read(warm)[0].Tokens);
    }

    [Fact]
    public void A_following_turn_reuses_the_generated_blocks_too()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4));
        int[] answer = [.. run.Run(EngineRun.Request(Prompt, 10))[0].Tokens];
        int[] next = [.. Prompt, .. answer, 3, 4];
        GenerationStream stream = run.Submit(EngineRun.Request(next, 5));
        run.Finish();
        Assert.Equal(20, stream.CachedTokens); // 22 tokens have K and V: the last one generated was never computed
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, next, 5), EngineRun.Read(stream)[0].Tokens);
    }

    [Fact]
    public void Tenants_with_different_salts_share_nothing()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4));
        GenerationRequest request = EngineRun.Request(Prompt, 2);
        int[] cached = [.. ((string?[])[null, "a", "b", "a", null]).Select(salt =>
        {
            GenerationStream stream = run.Submit(request with { CacheSalt = salt });
            run.Finish();
            return stream.CachedTokens;
        })];
        Assert.Equal([0, 0, 0, 12, 12], cached);
    }

    [Fact]
    public void Resetting_the_prefix_cache_forgets_what_nobody_owns()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4));
        run.Run(EngineRun.Request(Prompt, 2));
        Assert.True(run.Engine.Statistics.BlocksCached > 0);
        run.Engine.ResetPrefixCache();
        run.Engine.Loop.Step();
        Assert.Equal(0, run.Engine.Statistics.BlocksCached);
    }

    [Fact]
    public void Eos_and_stop_ids_end_a_choice_with_their_token_unless_masked_or_ignored()
    {
        int[] natural;
        using (var free = new TinyModel())
            natural = NaiveDecoder.Greedy(free.Decoder, Prompt, 12);
        int eos = natural[4], first = Array.IndexOf(natural, eos), stop = natural[2], firstStop = Array.IndexOf(natural, stop);
        using var model = new TinyModel(eos: eos);
        using var run = new EngineRun(model, EngineRun.Options(model));
        GenerationRequest request = EngineRun.Request(Prompt, 12);

        EngineRun.Output ended = run.Run(request)[0];
        Assert.Equal(FinishReason.Eos, ended.Finish);
        Assert.Equal(natural.Take(first + 1), ended.Tokens);

        EngineRun.Output stopped = run.Run(request with { StopTokenIds = [stop] })[0];
        Assert.Equal(firstStop < first ? FinishReason.StopToken : FinishReason.Eos, stopped.Finish);
        Assert.Equal(natural.Take(Math.Min(first, firstStop) + 1), stopped.Tokens);

        EngineRun.Output ignored = run.Run(request with { IgnoreEos = true })[0];
        Assert.Equal(FinishReason.Length, ignored.Finish);
        Assert.Equal(natural, ignored.Tokens);

        EngineRun.Output longer = run.Run(request with { Sampling = new SamplingParams { Temperature = 0, MinTokens = 8 } })[0];
        Assert.DoesNotContain(eos, longer.Tokens.Take(8));
        Assert.InRange(longer.Tokens.Count, 9, 12);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(4)]
    public void Prompt_logprobs_equal_the_naive_loop_and_read_no_cached_prefix(int? chunk)
    {
        using var model = new TinyModel(maxLogitRows: 16);
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: 4) with { MaxChunkTokens = chunk });
        int[] prompt = EngineRun.Prompt(45, 3);
        run.Run(EngineRun.Request(prompt, 1));
        float[][] logits = NaiveDecoder.Run(model.Decoder, prompt);
        foreach (int maxTokens in (int[])[0, 3])
        {
            GenerationStream stream = run.Submit(EngineRun.Request(prompt, maxTokens, new SamplingParams { Temperature = 0, PromptLogprobs = 2 }));
            run.Finish();
            Assert.Equal(0, stream.CachedTokens);
            Assert.Equal(maxTokens, EngineRun.Read(stream)[0].Tokens.Count);
            Assert.Equal(prompt.Length, stream.PromptLogprobs!.Count);
            Assert.Null(stream.PromptLogprobs[0]);
            for (int i = 1; i < prompt.Length; i++)
            {
                TokenLogprobs expected = LogSoftmax.Report(logits[i - 1], prompt[i], 2), told = stream.PromptLogprobs[i]!;
                Assert.Equal(expected.Logprob, told.Logprob);
                Assert.Equal(expected.TopIds, told.TopIds);
            }
        }

        Assert.Null(run.Submit(EngineRun.Request(prompt, 1)).PromptLogprobs);
    }

    [Fact]
    public void Forced_tokens_are_emitted_with_the_log_probabilities_that_the_same_text_has_as_a_prompt()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        int[] text = EngineRun.Prompt(40, 9);
        float[][] logits = NaiveDecoder.Run(model.Decoder, text);
        EngineRun.Output output = run.Run(EngineRun.Request(text[..13], 30, new SamplingParams { Temperature = 0, TopLogprobs = 1, ForcedTokens = text.AsMemory(13) }))[0];
        Assert.Equal(text[13..], output.Tokens.Take(27));
        for (int i = 13; i < text.Length; i++)
            Assert.Equal(LogSoftmax.Report(logits[i - 1], text[i], 1).Logprob, output.Logprobs[i - 13]!.Logprob);
        Assert.Equal(logits[^1].AsSpan().IndexOf(logits[^1].Max()), output.Tokens[27]);
        Assert.Throws<ArgumentException>(() => run.Submit(EngineRun.Request(text, 1, new SamplingParams { ForcedTokens = new[] { TinyModel.Vocabulary } })));
    }

    [Fact]
    public void A_request_for_no_tokens_ends_after_its_prompt_for_every_choice()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        EngineRun.Output[] choices = run.Run(EngineRun.Request(Prompt, 0) with { Choices = 2 });
        Assert.All(choices, choice => Assert.Equal((0, FinishReason.Length), (choice.Tokens.Count, choice.Finish)));
        Assert.Equal(13, run.Engine.Loop.Clock.LastTokens);
    }

    [Fact]
    public void Cancelling_at_any_stage_frees_all_blocks_within_one_step()
    {
        using var model = new TinyModel(KvGrouping.Head);
        foreach (IKvPolicy? policy in (IKvPolicy?[])[new FullKvPolicy(), null])
        {
            // Stages: not yet seen, waiting, in its prompt, decoding (with siblings), finished.
            for (int stage = 0; stage < 40; stage++)
            {
                EngineOptions options = EngineRun.Options(model, poolTokens: 96) with { MaxChunkTokens = 5, MaxNumSeqs = 3 };
                using var run = new EngineRun(model, options, new Cache.Policies.LowestSumPolicy(6));
                run.Submit(EngineRun.Request(EngineRun.Prompt(20, 1), 8) with { KvPolicy = policy });
                GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(30, 2), 20, new SamplingParams { Seed = 1 }) with
                {
                    Choices = 2,
                    KvPolicy = policy,
                });
                for (int step = 0; step < stage; step++)
                    run.Engine.Loop.Step();
                stream.Cancel();
                stream.Cancel();
                run.Engine.Loop.Step();
                Assert.All(((Generation)stream).Sequences, sequence => Assert.Equal(SequenceState.Finished, sequence.State));
                Assert.All(((Generation)stream).Sequences, sequence => Assert.Null(sequence.Cache));
                EngineRun.Output[] outputs = EngineRun.Read(stream, 2);
                Assert.All(outputs, output => Assert.NotEqual(FinishReason.None, output.Finish));
                run.Finish();
                run.AssertNothingOwned();
            }
        }
    }

    [Fact]
    public void Cancelling_the_choice_that_computes_the_prompt_lets_a_sibling_take_over()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = 4, PrefixCaching = false });
        GenerationRequest request = EngineRun.Request(Prompt, 6, new SamplingParams { Seed = 3 }) with { Choices = 3 };
        GenerationStream stream = run.Submit(request);
        run.Engine.Loop.Step();
        stream.CancelChoice(0);
        run.Finish();
        EngineRun.Output[] outputs = EngineRun.Read(stream, 3);
        Assert.Equal(FinishReason.Cancelled, outputs[0].Finish);
        for (int choice = 1; choice < 3; choice++)
            Assert.Equal(run.Run(request with { Choices = 1, Sampling = new SamplingParams { Seed = 3 + choice } })[0].Tokens, outputs[choice].Tokens);
    }

    [Fact]
    public void Same_seed_same_text_and_no_seed_different_texts()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        List<int> Say(long? seed) => run.Run(EngineRun.Request(Prompt, 12, new SamplingParams { Seed = seed }))[0].Tokens;
        Assert.Equal(Say(4), Say(4));
        Assert.NotEqual(Say(4), Say(5));
        Assert.NotEqual(Say(null), Say(null));
        using var again = new EngineRun(model, EngineRun.Options(model));
        using var twin = new EngineRun(model, EngineRun.Options(model));
        GenerationRequest unseeded = EngineRun.Request(Prompt, 12, new SamplingParams());
        Assert.Equal(again.Run(unseeded)[0].Tokens, twin.Run(unseeded)[0].Tokens); // the engine's own seed is fixed
    }

    [Fact]
    public void A_steady_decode_step_allocates_nothing()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 2048) with { MaxNumSeqs = 6 });
        ImmutableArray<SamplingParams> kinds =
        [
            new() { Temperature = 0 }, new() { Seed = 1 }, new() { Seed = 2, TopK = 10, TopP = 0.9f, MinP = 0.01f },
            new() { Seed = 3, RepetitionPenalty = 1.2f, FrequencyPenalty = 0.2f, PresencePenalty = 0.1f },
            new() { Seed = 4, BadWords = [[1], [2, 3]], LogitBias = [new LogitBias(5, 1)], MinTokens = 100 },
            new() { Temperature = 0, AllowedTokenIds = [1, 2, 3, 4, 5, 6, 7] },
        ];
        GenerationStream[] streams = [.. kinds.Select((sampling, i) => run.Submit(EngineRun.Request(EngineRun.Prompt(10 + i, i), 200, sampling) with { IgnoreEos = true }))];
        run.AssertSteadyStepsAllocateNothing(streams);
    }

    [Fact]
    public void Statistics_count_what_happened()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        run.Submit(EngineRun.Request(Prompt, 4));
        run.Submit(EngineRun.Request(Prompt, 6, new SamplingParams { Seed = 1 }) with { Choices = 2 });
        Assert.Equal(0, run.Engine.Statistics.Waiting);
        run.Finish();
        EngineStatistics statistics = run.Engine.Statistics;
        Assert.Equal((26L, 16L, 6L), (statistics.PromptTokens, statistics.GeneratedTokens, statistics.Steps));
        Assert.True(statistics.StepSeconds > 0);
        Assert.InRange(statistics.HostSeconds, 0, statistics.StepSeconds);
        Assert.Equal(run.Engine.Loop.Cache.Blocks.Total, statistics.BlocksTotal);
    }

    [Fact]
    public void A_selector_that_cannot_be_made_ends_every_choice_with_an_error()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model), new UnmakeablePolicy());
        GenerationStream stream = run.Submit(EngineRun.Request(Prompt, 4) with { Choices = 2 });
        run.Finish();
        Assert.All(EngineRun.Read(stream, 2), output => Assert.Equal(FinishReason.Error, output.Finish));
        Assert.Equal("KV policy unmakeable: no selector", stream.Error);
        run.AssertNothingOwned();
    }

    private sealed class UnmakeablePolicy : IKvPolicy
    {
        public string Name => "unmakeable";

        public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Model);

        public KvSelector NewSelector(in KvSelectorContext context) => throw new InvalidOperationException("no selector");
    }
}
