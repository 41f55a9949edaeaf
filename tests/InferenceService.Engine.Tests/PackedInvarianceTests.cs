using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>Quantised blocks change what a request says a little, but never because of what else is in the pool.</summary>
public sealed class PackedInvarianceTests
{
    private const int BlockSize = 32;
    private const int HeadDim = 32;

    [Theory]
    [InlineData(4, 29, 0)]
    [InlineData(4, null, int.MaxValue)]
    [InlineData(8, 64, 300_000)]
    public void A_storm_over_packed_caches_changes_no_token_and_leaves_no_block_owned(int bits, int? chunk, long swapBytes)
    {
        var weather = new BatchInvarianceTests.Weather();
        Property.Check(3, seed =>
        {
            using var model = new TinyModel(eos: 7, headDim: HeadDim);
            GenerationRequest[] requests = NewRequests(new Random(seed), 32, _ => null);
            Storm(model, requests, KvPolicyRegistry.Create("full", Bits(bits)), Options(model, bits, 14, chunk) with { SwapBytes = swapBytes }, seed, weather);
        });
        weather.AssertRough();
        Assert.True(weather.PackedBlocks > 100, $"{weather.PackedBlocks} blocks were packed.");
    }

    [Theory]
    [InlineData(4, 33, int.MaxValue)]
    [InlineData(8, null, 0)]
    public void Nor_does_one_over_packed_and_unpacked_policies_of_every_kind(int bits, int? chunk, long swapBytes)
    {
        var weather = new BatchInvarianceTests.Weather();
        Property.Check(3, seed =>
        {
            using var model = new TinyModel(KvGrouping.Head, eos: 7, headDim: HeadDim);
            IKvPolicy[] policies =
            [
                KvPolicyRegistry.Create("full"),
                KvPolicyRegistry.Create("full", Bits(bits, ("residual_tokens", "64"))),
                KvPolicyRegistry.Create("streaming-llm", Bits(bits, ("sink_tokens", "4"), ("recent_tokens", "80"))),
                KvPolicyRegistry.Create("sim-layer-kv", Bits(bits, ("recent_tokens", "70"), ("lazy_threshold", "0.2"))),
                KvPolicyRegistry.Create("fast-gen", Bits(bits, ("recovery_target", "0.6"), ("profile_tokens", "16"))),
            ];
            GenerationRequest[] requests = NewRequests(new Random(seed), 24, random => policies[random.Next(policies.Length)]);
            Storm(model, requests, policies[1], Options(model, bits, 48, chunk) with { SwapBytes = swapBytes }, seed, weather);
        });
        weather.AssertRough();
        Assert.True(weather.PackedBlocks > 100, $"{weather.PackedBlocks} blocks were packed.");
    }

    [Theory]
    [InlineData(4, 0)]
    [InlineData(8, int.MaxValue)]
    public void Nor_does_one_over_packed_caches_that_layers_share(int bits, long swapBytes)
    {
        var weather = new BatchInvarianceTests.Weather();
        Property.Check(2, seed =>
        {
            using var model = new TinyModel(eos: 7, kvSources: [0, 2, 2, 3], headDim: HeadDim);
            GenerationRequest[] requests = NewRequests(new Random(seed), 24, _ => null);
            EngineOptions options = Options(model, bits, 14, null) with { PromptChunkTokens = BlockSize, SwapBytes = swapBytes };
            Storm(model, requests, KvPolicyRegistry.Create("lckv", Bits(bits)), options, seed, weather);
        });
        weather.AssertRough();
        Assert.True(weather.PackedBlocks > 50, $"{weather.PackedBlocks} blocks were packed.");
    }

    [Fact]
    public void Choices_of_one_prompt_share_its_packed_blocks()
    {
        using var model = new TinyModel(headDim: HeadDim);
        using var run = new EngineRun(model, Options(model, 4, 40, null), KvPolicyRegistry.Create("full", Bits(4)));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(200, 1), 8, new SamplingParams { Seed = 1 }) with { Choices = 4 });
        while (run.Engine.Statistics.Running < 4)
            run.Engine.Loop.Step();
        // Five packed blocks in one parent, and two full ones until somebody writes.
        Assert.Equal(5, run.Engine.Loop.Cache.Blocks.Children);
        Assert.Equal(1 + 2, run.Engine.Loop.Cache.Blocks.Used);
        run.Finish();
        Assert.All(EngineRun.Read(stream, 4), output => Assert.Equal(8, output.Tokens.Count));
        run.AssertNothingOwned();
    }

    [Fact]
    public void Log_probabilities_move_a_little_under_8_bits_and_more_under_4()
    {
        using var model = new TinyModel(headDim: HeadDim);
        double eight = Distance(model, 8), four = Distance(model, 4);
        Assert.InRange(eight, 1e-5, 0.05);
        Assert.InRange(four, 5 * eight, 0.6);
    }

    [Fact]
    public void A_short_text_within_the_residual_says_exactly_what_it_says_unpacked()
    {
        using var model = new TinyModel(headDim: HeadDim);
        Assert.Equal(0, Distance(model, 4, prompt: 20, tokens: 30)); // 50 tokens: no block lies wholly before the last 32
    }

    [Fact]
    public void Requests_in_flight_grow_by_what_packing_saves()
    {
        using var model = new TinyModel(headDim: HeadDim, maxPositions: 1024, maxRows: 1024);
        KvBlockFormat format = Format(model, 4);
        int full = InFlight(model, "16"), packed = InFlight(model, "4");
        const int prompt = 928, tail = 48; // tokens that are still exact, on average
        double saved = prompt * (double)format.LaneOffset(format.Lanes) / BlockSize
            / ((prompt - tail) * (double)format.ChildBytes / BlockSize + tail * (double)format.LaneOffset(format.Lanes) / BlockSize);
        Assert.True(packed >= 0.85 * saved * full, $"{full} requests in flight became {packed}; the sizes promise a factor of {saved:F2}.");
    }

    [Fact]
    public void Packing_that_the_cache_was_not_loaded_for_is_refused()
    {
        using var model = new TinyModel(headDim: HeadDim);
        using var run = new EngineRun(model, Options(model, 4, 20, null), new FullKvPolicy());
        GenerationRequest request = EngineRun.Request(EngineRun.Prompt(40, 1), 4);
        SubmitResult refused = run.Engine.Submit(request with { KvPolicy = KvPolicyRegistry.Create("full", Bits(8)) });
        Assert.Equal(Refusal.PolicyNotAllowed, refused.Refusal);
        Assert.Contains("8 bits", refused.Reason, StringComparison.Ordinal);
        Assert.Equal(Refusal.None, run.Engine.Submit(request with { KvPolicy = KvPolicyRegistry.Create("full", Bits(4)) }).Refusal);
        run.Finish();

        Assert.Contains("BlockSize is 16", Refused(options => options with { BlockSize = 16 }), StringComparison.Ordinal);
        Assert.Contains("KvPackedBits is 5", Refused(options => options with { KvPackedBits = 5 }), StringComparison.Ordinal);

        string Refused(Func<EngineOptions, EngineOptions> change) => Assert.Throws<ArgumentException>(
            () => new InferenceEngine(model.Decoder, new FullKvPolicy(), change(Options(model, 4, 20, null)), TimeProvider.System, startThread: false)).Message;
    }

    [Fact]
    public void Options_of_packing_are_checked_together()
    {
        Assert.Equal(new KvPacking(4, 64), KvPolicyRegistry.Create("full", Bits(4, ("residual_tokens", "64"))).Packing);
        Assert.True(KvPolicyRegistry.Create("full").Packing.IsNone);
        Assert.Equal("key_bits=8,value_bits=8,residual_tokens=32", KvPolicyRegistry.Create("full", Bits(8)).Settings);
        Assert.Equal("value_bits", Assert.Throws<KvPolicyException>(() => KvPolicyRegistry.Create("full", Bits(4, ("value_bits", "8")))).Option);
        Assert.Equal("residual_tokens", Assert.Throws<KvPolicyException>(() => KvPolicyRegistry.Create("full", Bits(4, ("residual_tokens", "40")))).Option);
        Assert.Equal("key_bits", Assert.Throws<KvPolicyException>(() => KvPolicyRegistry.Create("full", Bits(5))).Option);
    }

    private static Dictionary<string, string> Bits(int bits, params (string Name, string Value)[] others)
    {
        var values = new Dictionary<string, string> { ["key_bits"] = bits.ToString(System.Globalization.CultureInfo.InvariantCulture) };
        foreach ((string name, string value) in others)
            values[name] = value;
        return values;
    }

    private static KvBlockFormat Format(TinyModel model, int bits) =>
        new(DType.F32, BlockSize, HeadDim, model.Decoder.Layout.LanesPerGroup, bits);

    /// <summary>The prompt must fit as computed; what follows is packed, so that the whole may be longer.</summary>
    [Theory]
    [InlineData(4, KvGrouping.Model, 8)]
    [InlineData(8, KvGrouping.Model, 6)]
    [InlineData(4, KvGrouping.Head, 20)]
    [InlineData(8, KvGrouping.Layer, 12)]
    public void Packing_lets_a_sequence_grow_beyond_what_fits_as_computed(int bits, KvGrouping grouping, int blocks)
    {
        using var model = new TinyModel(grouping, headDim: HeadDim, maxPositions: 2000);
        EngineOptions options = Options(model, bits, blocks, null) with { MaxModelLength = 2000 };
        IKvPolicy policy = KvPolicyRegistry.Create("full", Bits(bits));
        using var run = new EngineRun(model, options, policy);
        int prompt = (blocks - 1) / model.Decoder.Layout.Groups * BlockSize, most = run.Engine.MaxTokensUnder(policy, prompt);
        Assert.InRange(most, prompt + BlockSize, 1999);
        Assert.Equal(prompt, run.Engine.MaxTokensUnder(policy, prompt + 1));
        Assert.Equal(prompt, run.Engine.MaxTokensUnder(KvPolicyRegistry.Create("full")));
        Assert.Equal(Refusal.NeverFits, run.Engine.Submit(EngineRun.Request(EngineRun.Prompt(prompt, 1), most - prompt + 1)).Refusal);
        foreach (int length in (int[])[prompt, 5])
        {
            EngineRun.Output output = run.Run(EngineRun.Request(EngineRun.Prompt(length, 1), most - length))[0];
            Assert.Equal((FinishReason.Length, most - length), (output.Finish, output.Tokens.Count));
        }

        Assert.Equal(0, run.Engine.Statistics.Preemptions);
        run.AssertNothingOwned();
        // One more block a group would not have fitted: the pool was full but for less than that.
        Assert.InRange(Peak(model, options, policy, most - 1), blocks - model.Decoder.Layout.Groups, blocks);
    }

    /// <summary>Most blocks that a sequence of so many tokens ever held, with what the packing takes for a moment.</summary>
    private static int Peak(TinyModel model, EngineOptions options, IKvPolicy policy, int tokens)
    {
        using var run = new EngineRun(model, options, policy);
        run.Submit(EngineRun.Request(EngineRun.Prompt(5, 1), tokens - 5));
        int peak = 0;
        while (run.Engine.Loop.Step())
            peak = Math.Max(peak, run.Engine.Loop.Cache.Blocks.Used);
        return peak + 1;
    }

    private static EngineOptions Options(TinyModel model, int bits, int blocks, int? chunk) => new()
    {
        MaxModelLength = 256,
        MaxBatchTokens = 64,
        MaxNumSeqs = 6,
        MaxChunkTokens = chunk,
        BlockSize = BlockSize,
        KvPackedBits = bits,
        KvCacheBytes = (long)blocks * Format(model, bits).BlockBytes,
        Seed = 42,
    };

    private static void Storm(TinyModel model, GenerationRequest[] requests, IKvPolicy policy, EngineOptions options, int seed, BatchInvarianceTests.Weather weather)
    {
        EngineOptions roomy = options with { KvCacheBytes = 8 * options.KvCacheBytes, PrefixCaching = false, MaxChunkTokens = null };
        EngineRun.Output[][] alone = BatchInvarianceTests.RunAlone(model, requests, policy, roomy);
        BatchInvarianceTests.Storm(model, requests, alone, policy, options, new Random(seed + 1), weather);
    }

    private static GenerationRequest[] NewRequests(Random random, int count, Func<Random, IKvPolicy?> policy)
    {
        int[][] stems = [EngineRun.Prompt(70, 1), EngineRun.Prompt(128, 2), EngineRun.Prompt(30, 3)];
        return [.. Enumerable.Range(0, count).Select(i => new GenerationRequest
        {
            PromptTokens = (int[])[.. stems[random.Next(3)], .. EngineRun.Prompt(random.Next(40), i)],
            MaxTokens = 1 + random.Next(80),
            Choices = 1 + random.Next(3),
            IgnoreEos = random.Next(2) == 0,
            Sampling = BatchInvarianceTests.NewSampling(random),
            KvPolicy = policy(random),
        })];
    }

    /// <summary>Mean difference of the log-probabilities of the same forced text, packed and unpacked.</summary>
    private static double Distance(TinyModel model, int bits, int prompt = 120, int tokens = 60)
    {
        EngineOptions options = Options(model, bits, 40, null);
        GenerationRequest request = EngineRun.Request(EngineRun.Prompt(prompt, 5), tokens, new SamplingParams
        {
            Temperature = 0,
            TopLogprobs = 0,
            ForcedTokens = EngineRun.Prompt(tokens, 9),
        });
        double[] Score(IKvPolicy policy)
        {
            using var run = new EngineRun(model, options, policy);
            return [.. run.Run(request)[0].Logprobs.Select(logprobs => (double)logprobs!.Logprob)];
        }

        return Score(new FullKvPolicy()).Zip(Score(KvPolicyRegistry.Create("full", Bits(bits))), (a, b) => Math.Abs(a - b)).Average();
    }

    /// <summary>Most requests that run at once in a pool of twelve whole contexts.</summary>
    private static int InFlight(TinyModel model, string bits)
    {
        EngineOptions options = Options(model, 4, 12 * 32, null) with
        {
            MaxModelLength = 1024,
            MaxBatchTokens = 1024,
            MaxNumSeqs = 60,
            PrefixCaching = false,
        };
        using var run = new EngineRun(model, options, KvPolicyRegistry.Create("full", new Dictionary<string, string> { ["key_bits"] = bits }));
        for (int i = 0; i < 60; i++)
            run.Submit(EngineRun.Request(EngineRun.Prompt(928, i), 64));
        int most = 0;
        for (int step = 0; step < 60; step++)
        {
            run.Engine.Loop.Step();
            most = Math.Max(most, run.Engine.Statistics.Running);
        }

        return most;
    }
}
