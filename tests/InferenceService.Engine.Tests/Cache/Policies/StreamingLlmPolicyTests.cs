using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Cache.Policies;

public sealed class StreamingLlmPolicyTests
{
    [Theory]
    [InlineData(4, 12, 4, 4)]
    [InlineData(3, 9, 4, 16)]
    [InlineData(0, 8, 16, 7)]
    [InlineData(4, 60, 16, 100)]
    public void A_stream_of_any_length_needs_no_more_than_its_bound(int sinks, int recent, int blockSize, int chunk)
    {
        using var model = new TinyModel();
        var policy = new StreamingLlmPolicy(sinks, recent);
        int peak = policy.Mask.PeakBlocks(int.MaxValue, blockSize);
        EngineOptions options = EngineRun.Options(model, poolTokens: peak * blockSize, blockSize: blockSize) with { MaxChunkTokens = chunk };
        using var run = new EngineRun(model, options, policy);
        Assert.Equal(256, run.Engine.MaxTokensUnder(run.Engine.DefaultPolicy));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(180, 3), 70));
        Sequence sequence = ((Generation)stream).Sequences[0];
        int most = 0;
        while (run.Engine.Loop.Step())
        {
            most = Math.Max(most, run.Engine.Loop.Cache.Blocks.Used);
            // Between steps after the prompt: ceil(S/B) + ceil((R+1)/B) + 1, as kv-policies states it.
            if (sequence.GeneratedCount > 1)
                Assert.InRange(run.Engine.Loop.Cache.Blocks.Used, 0, Blocks(sinks, blockSize) + Blocks(recent + 1, blockSize) + 1);
        }

        Assert.InRange(most, 1, peak);
        Assert.Equal(70, EngineRun.Read(stream)[0].Tokens.Count);
        Assert.Equal(0, run.Engine.Statistics.Preemptions);
    }

    [Fact]
    public void Far_beyond_the_pool_a_stream_holds_what_it_held()
    {
        using var model = new TinyModel(maxPositions: 10_000);
        EngineOptions options = EngineRun.Options(model, poolTokens: 64) with { MaxModelLength = 10_000, StreamCapacity = 10_000 };
        using var run = new EngineRun(model, options, new StreamingLlmPolicy(4, 12));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(20, 3), 4000));
        var blocks = new HashSet<int>();
        for (int step = 0; run.Engine.Loop.Step(); step++)
            if (step is > 100 and < 3900)
                blocks.Add(run.Engine.Loop.Cache.Blocks.Used);
        Assert.Equal([4, 5], blocks.Order()); // a window of 13 in blocks of 4 touches 4 of them, seldom all of a fifth
        Assert.Equal(4000, EngineRun.Read(stream)[0].Tokens.Count);
    }

    [Fact]
    public void A_prompt_equals_the_same_tokens_decoded()
    {
        using var model = new TinyModel();
        int[] text = EngineRun.Prompt(60, 9);
        using var run = new EngineRun(model, EngineRun.Options(model) with { PrefixCaching = false }, new StreamingLlmPolicy(3, 9));
        var sampling = new SamplingParams { Temperature = 0, TopLogprobs = 0 };
        TokenLogprobs[] asPrompt = [.. PromptLogprobs(run, text)];
        EngineRun.Output decoded = run.Run(EngineRun.Request(text[..1], 59, sampling with { ForcedTokens = text.AsMemory(1) }) with { IgnoreEos = true })[0];
        Assert.Equal(text[1..], decoded.Tokens);
        for (int i = 0; i < decoded.Tokens.Count; i++)
            Assert.Equal(asPrompt[i].Logprob, decoded.Logprobs[i]!.Logprob, 1e-4f);
    }

    [Fact]
    public void What_no_row_sees_any_more_need_not_be_cached_for_a_hit()
    {
        using var model = new TinyModel();
        var policy = new StreamingLlmPolicy(4, 12);
        // The pool holds little more than one stream, so that the blocks between sinks and window are soon written again.
        int tokens = policy.Mask.PeakBlocks(int.MaxValue, 4) * 4 + 8;
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: tokens) with { MaxChunkTokens = 8 }, policy);
        GenerationRequest request = EngineRun.Request(EngineRun.Prompt(180, 3), 10);
        EngineRun.Output cold = run.Run(request)[0];
        GenerationStream again = run.Submit(request);
        run.Finish();
        Assert.InRange(again.CachedTokens, 160, 179);
        Assert.Equal(cold.Tokens, EngineRun.Read(again)[0].Tokens);
        run.AssertNothingOwned();
    }

    [Fact]
    public void Blocks_computed_under_a_mask_serve_nobody_else()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model), new StreamingLlmPolicy(4, 12));
        GenerationRequest request = EngineRun.Request(EngineRun.Prompt(60, 3), 4);
        run.Run(request);
        foreach (IKvPolicy other in (IKvPolicy[])[new FullKvPolicy(), new StreamingLlmPolicy(4, 13), new StreamingLlmPolicy(3, 12)])
        {
            GenerationStream stream = run.Submit(request with { KvPolicy = other });
            run.Finish();
            Assert.Equal(0, stream.CachedTokens);
        }
    }

    [Fact]
    public void Beyond_the_bound_of_the_pool_a_request_is_refused()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 64), new StreamingLlmPolicy(4, 40));
        Assert.Equal(64, run.Engine.MaxTokensUnder(run.Engine.DefaultPolicy)); // 4 + 41 + a chunk of 41 do not fit, so what fits must fit whole
        Assert.Equal(256, run.Engine.MaxTokensUnder(new StreamingLlmPolicy(4, 12)));
        Assert.Equal(Refusal.NeverFits, run.Engine.Submit(EngineRun.Request(EngineRun.Prompt(60, 1), 5)).Refusal);
        Assert.Equal(Refusal.None, run.Engine.Submit(EngineRun.Request(EngineRun.Prompt(60, 1), 5) with { KvPolicy = new StreamingLlmPolicy(4, 12) }).Refusal);
    }

    private static IEnumerable<TokenLogprobs> PromptLogprobs(EngineRun run, int[] text)
    {
        GenerationStream stream = run.Submit(EngineRun.Request(text, 0, new SamplingParams { Temperature = 0, PromptLogprobs = 0 }));
        run.Finish();
        return stream.PromptLogprobs!.Skip(1).Select(logprobs => logprobs!);
    }

    private static int Blocks(int tokens, int blockSize) => (tokens + blockSize - 1) / blockSize;

    [Fact]
    public void A_pool_holds_as_many_at_once_as_their_windows_fill()
    {
        // 4 sinks and a window of 9 in blocks of 4: 1 + 3 blocks at most; one more while the last prompt is computed in chunks of a block.
        using var model = new TinyModel();
        IKvPolicy policy = KvPolicyRegistry.Create("streaming-llm", new Dictionary<string, string> { ["sink_tokens"] = "4", ["recent_tokens"] = "8" });
        Assert.Equal((4, 4), (policy.Mask.SteadyBlocks(4), policy.Mask.CrowdedChunkTokens(4)));
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 4 * (6 * 4 + 1)) with { PrefixCaching = false }, policy);
        GenerationStream[] streams = [.. Enumerable.Range(0, 9).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(40 + i, i), 40)))];
        int most = 0;
        while (run.Engine.Loop.Step())
            most = Math.Max(most, run.Engine.Statistics.Running);
        Assert.All(streams, stream => Assert.Equal(40, EngineRun.Read(stream)[0].Tokens.Count));
        Assert.Equal((6, 0), (most, run.Engine.Statistics.Preemptions));
    }
}
