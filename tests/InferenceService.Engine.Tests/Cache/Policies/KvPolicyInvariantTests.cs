using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>
/// What must hold for every policy of the registry, whatever the paper says: as computed and packed, with caches of its own and shared
/// ones, with 1, 2 and 4 query heads to a kv head, on models and prompts drawn anew in every run. A failure names its seed.
/// </summary>
public sealed class KvPolicyInvariantTests
{
    private static readonly SamplingParams Greedy = new() { Temperature = 0, TopLogprobs = 0 };

    public static TheoryData<string> All => PolicyCases.All;

    public static TheoryData<string, int> Grouped => PolicyCases.Grouped;

    public static TheoryData<string, int> Neutral => PolicyCases.Neutral;

    [Fact]
    public void Every_registered_policy_has_a_case_of_each_format()
    {
        Assert.Equal(KvPolicyRegistry.Names, PolicyCases.Policies.Order(StringComparer.Ordinal));
        foreach (string policy in KvPolicyRegistry.Names)
        {
            PolicyCase[] cases = [.. PolicyCases.Grouped.Select(row => PolicyCases.Of((string)row[0])).Where(one => one.Policy == policy)];
            Assert.Contains(cases, one => one.PoolBits == 0);
            Assert.Contains(cases, one => one.PoolBits > 0);
        }
    }

    [Theory]
    [MemberData(nameof(Neutral))]
    public void A_neutral_setting_equals_full_bit_for_bit(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.NeutralOf(label);
        using var model = one.Model(kvHeads, seed);
        EngineOptions options = one.Options(model);
        foreach (int blockSize in one.PoolBits == 0 ? (int[])[4, 16] : [options.BlockSize])
        {
            using var run = new EngineRun(model, options with { BlockSize = blockSize, PromptChunkTokens = 32 }, new FullKvPolicy());
            int[] prompt = one.Prompt(seed);
            AssertSame(Say(run, one, prompt, new FullKvPolicy()), Say(run, one, prompt, one.Create()));
        }
    });

    [Fact]
    public void Layers_that_each_read_their_own_cache_are_an_ordinary_model()
    {
        using var plain = new TinyModel(KvGrouping.Head);
        using var identity = new TinyModel(KvGrouping.Head, kvSources: [0, 1]);
        using var run = new EngineRun(plain, EngineRun.Options(plain));
        using var other = new EngineRun(identity, EngineRun.Options(identity));
        PolicyCase one = PolicyCases.Of("full");
        AssertSame(Say(run, one, one.Prompt(1), null), Say(other, one, one.Prompt(1), null));
    }

    [Theory]
    [MemberData(nameof(Grouped))]
    public void Chunks_change_no_plan_and_no_logits(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.Of(label);
        using var model = one.Model(kvHeads, seed);
        EngineOptions options = one.Options(model);
        (EngineRun.Output Said, string Kept)? expected = null;
        foreach (int? chunk in (int?[])[null, 1, 7, options.BlockSize])
        {
            using var run = new EngineRun(model, options with { MaxChunkTokens = chunk }, one.Create());
            (EngineRun.Output said, string kept) = SayAndKeep(run, one, one.Prompt(seed), null);
            expected ??= (said, kept);
            AssertSame(expected.Value.Said, said);
            Assert.Equal(expected.Value.Kept, kept);
        }
    });

    [Theory]
    [MemberData(nameof(Grouped))]
    public void A_prefix_hit_says_and_keeps_what_a_cold_run_does(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.Of(label);
        using var model = one.Model(kvHeads, seed);
        using var run = new EngineRun(model, one.Options(model), new FullKvPolicy());
        IKvPolicy policy = one.Create();
        int[] prompt = one.Prompt(seed);
        (EngineRun.Output cold, string kept) = SayAndKeep(run, one, prompt, policy);
        bool profilesAll = one.Values.Contains("profile_tokens=0", StringComparison.Ordinal);
        bool drew = !one.Values.Contains("profile_tokens", StringComparison.Ordinal) && one.Policy == "fast-gen";
        (EngineRun.Output warm, string keptWarm) = SayAndKeep(run, one, prompt, policy, minCached: profilesAll || drew ? 0 : 24);
        AssertSame(cold, warm);
        Assert.Equal(kept, keptWarm);

        // Another policy's prompt blocks serve too, unless they were computed under a mask; and it left them as they were.
        EngineRun.Output full = Say(run, one, prompt, new FullKvPolicy());
        using var alone = new EngineRun(model, one.Options(model), new FullKvPolicy());
        AssertSame(Say(alone, one, prompt, new FullKvPolicy()), full);
    });

    [Theory]
    [MemberData(nameof(Grouped))]
    public void Preempted_at_any_step_it_says_the_same(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.Of(label);
        using var model = one.Model(kvHeads, seed);
        int[] prompt = one.Prompt(seed);
        using var alone = new EngineRun(model, one.Options(model), one.Create());
        EngineRun.Output expected = Say(alone, one, prompt, null);
        EngineOptions options = one.Options(model) with { MaxChunkTokens = prompt.Length / 3, PrefixCaching = seed % 2 == 0 };
        int most = one.Generated + (prompt.Length / options.BlockSize) - 1;
        foreach (long swapBytes in (long[])[long.MaxValue, 0])
        {
            // Drawn anew in every run; a long request also gives way more than once.
            foreach (int step in Draw(new Random(seed), 4, most))
            {
                using var run = new EngineRun(model, options with { SwapBytes = swapBytes }, one.Create());
                GenerationStream stream = run.Submit(EngineRun.Request(prompt, one.Generated, Greedy));
                for (int before = 0; before < step && run.Engine.Loop.Step(); before++)
                    if (before % 17 == 16)
                        run.Engine.Loop.PreemptAll();
                run.Engine.Loop.PreemptAll();
                run.Finish();
                AssertSame(expected, EngineRun.Read(stream)[0]);
                run.AssertNothingOwned();
            }
        }
    });

    [Theory]
    [MemberData(nameof(Grouped))]
    public void Choices_of_one_prompt_say_what_each_says_alone(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.Of(label);
        using var model = one.Model(kvHeads, seed);
        using var run = new EngineRun(model, one.Options(model), one.Create());
        GenerationRequest request = EngineRun.Request(one.Prompt(seed), one.Generated, new SamplingParams { Seed = 5, TopLogprobs = 0 }) with { Choices = 3 };
        EngineRun.Output[] together = run.Run(request);
        for (int choice = 0; choice < 3; choice++)
            AssertSame(run.Run(request with { Choices = 1, Sampling = request.Sampling with { Seed = 5 + choice } })[0], together[choice]);
        run.AssertNothingOwned();
    });

    [Theory]
    [MemberData(nameof(Grouped))]
    public void In_a_batch_with_another_policy_each_says_what_it_says_alone(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.Of(label);
        PolicyCase[] beside = [.. PolicyCases.Beside(one)];
        PolicyCase other = beside[seed % beside.Length];
        using var model = one.Model(kvHeads, seed);
        using var run = new EngineRun(model, one.Options(model) with { PrefixCaching = false }, one.Create());
        EngineRun.Output alone = Say(run, one, one.Prompt(seed), null), otherAlone = Say(run, other, other.Prompt(seed + 1), other.Create());
        GenerationStream first = run.Submit(EngineRun.Request(one.Prompt(seed), one.Generated, Greedy));
        for (int step = seed % 5; step > 0; step--)
            run.Engine.Loop.Step();
        GenerationStream second = run.Submit(EngineRun.Request(other.Prompt(seed + 1), other.Generated, Greedy) with { KvPolicy = other.Create() });
        run.Finish();
        AssertSame(alone, EngineRun.Read(first)[0]);
        AssertSame(otherAlone, EngineRun.Read(second)[0]);
        run.AssertNothingOwned();
    });

    [Theory]
    [MemberData(nameof(Grouped))]
    public void Poison_in_dead_slots_and_free_blocks_never_reaches_the_output(string label, int kvHeads) => Property.Check(1, seed =>
    {
        PolicyCase one = PolicyCases.Of(label);
        using var model = one.Model(kvHeads, seed);
        EngineOptions options = one.Options(model) with { MaxChunkTokens = one.Prompt(seed).Length / 3, PrefixCaching = false };
        using var clean = new EngineRun(model, options, one.Create());
        using var run = new EngineRun(model, options, one.Create());
        GenerationRequest request = EngineRun.Request(one.Prompt(seed), one.Generated, Greedy) with { Choices = 2 };
        EngineRun.Output[] expected = clean.Run(request);
        GenerationStream stream = run.Submit(request);
        var poison = new Poison(run.Engine.Loop.Cache, model.Backend);
        do
            poison.Spread(((Generation)stream).Sequences.Select(sequence => sequence.Cache));
        while (run.Engine.Loop.Step());
        EngineRun.Output[] said = EngineRun.Read(stream, 2);
        AssertSame(expected[0], said[0]);
        AssertSame(expected[1], said[1]);
        Assert.True(poison.Written > 100);
    });

    [Theory]
    [InlineData("stream", KvGrouping.Model)]
    [InlineData("stream", KvGrouping.Layer)]
    [InlineData("all lazy", KvGrouping.Layer)]
    [InlineData("half lazy", KvGrouping.Layer)]
    [InlineData("half lazy, growing", KvGrouping.Layer)]
    public void Groups_finer_than_needed_answer_alike(string label, KvGrouping needed)
    {
        PolicyCase one = PolicyCases.Of(label);
        (EngineRun.Output Said, string Kept) Run(KvGrouping grouping)
        {
            using var model = new TinyModel(grouping);
            using var run = new EngineRun(model, EngineRun.Options(model), PolicyCases.Create(label));
            return SayAndKeep(run, one, one.Prompt(1), null);
        }

        (EngineRun.Output coarse, string kept) = Run(needed);
        (EngineRun.Output fine, string keptByHead) = Run(KvGrouping.Head);
        AssertSame(coarse, fine);
        Assert.Equal(kept, keptByHead);
    }

    [Theory]
    [MemberData(nameof(All))]
    public void A_steady_decode_step_allocates_nothing(string label)
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model) with { PrefixCaching = false, MaxNumSeqs = 2 }, PolicyCases.Create(label));
        run.Engine.Loop.ChecksEveryStep = false;
        GenerationStream[] streams = [.. Enumerable.Range(0, 2).Select(seed => run.Submit(EngineRun.Request(EngineRun.Prompt(30, seed), 200)))];
        var steady = new LeastAllocation(stepsEach: 15);
        for (int step = 0; step < 120; step++)
        {
            steady.Begin();
            Assert.True(run.Engine.Loop.Step());
            steady.End();
            foreach (GenerationStream stream in streams)
                while (stream.TryRead(out _)) { }
        }

        // Tables and positions of what keeps growing double now and then, so that not every run of steps is free of it.
        Assert.Equal(0, steady.Bytes);
    }

    [Theory]
    [MemberData(nameof(Grouped))]
    public void The_order_of_the_query_heads_of_a_group_changes_no_plan(string label, int kvHeads)
    {
        PolicyCase one = PolicyCases.Of(label);
        using var model = one.Model(kvHeads);
        DecoderModel twin = DecoderModel.Load(model.Config, new SwappedHeads(model), model.Backend, model.Decoder.Layout, model.Decoder.Limits);
        using var run = new EngineRun(model, one.Options(model), one.Create());
        using var other = new EngineRun(twin, one.Options(model), one.Create());
        (EngineRun.Output said, string kept) = SayAndKeep(run, one, one.Prompt(1), null);
        (EngineRun.Output saidByTwin, string keptByTwin) = SayAndKeep(other, one, one.Prompt(1), null);
        // Sums over a row in another order differ by float32 noise, which a packed code near a rounding boundary turns into a step.
        AssertSame(said, saidByTwin, one.PoolBits == 0 ? 1e-4f : 1e-2f);
        Assert.Equal(kept, keptByTwin);
    }

    private static EngineRun.Output Say(EngineRun run, PolicyCase one, int[] prompt, IKvPolicy? policy) =>
        run.Run(EngineRun.Request(prompt, one.Generated, Greedy) with { KvPolicy = policy })[0];

    /// <summary>Output and the positions that every lane keeps after every token.</summary>
    private static (EngineRun.Output Said, string Kept) SayAndKeep(EngineRun run, PolicyCase one, int[] prompt, IKvPolicy? policy, int minCached = 0)
    {
        GenerationStream stream = run.Submit(EngineRun.Request(prompt, one.Generated, Greedy) with { KvPolicy = policy });
        Sequence sequence = ((Generation)stream).Sequences[0];
        var kept = new List<string>();
        while (run.Engine.Loop.Step())
        {
            if (sequence.Cache is not { } cache)
                continue;
            AssertLazyBounds(one, sequence, cache);
            if (sequence.Computed >= prompt.Length)
                kept.Add(KeptLanes.Of(cache, run.Engine.Model.Layout.LanesPerGroup));
        }

        Assert.True(stream.CachedTokens >= minCached, $"{stream.CachedTokens} tokens came from the cache.");
        return (EngineRun.Read(stream)[0], string.Join('|', kept));
    }

    private static IEnumerable<int> Draw(Random random, int count, int most) => Enumerable.Range(0, count).Select(_ => 1 + random.Next(most));

    /// <summary>A lazy layer that slides holds no more than its sinks and its window. All other bounds are <see cref="EngineChecks"/>.</summary>
    private static void AssertLazyBounds(PolicyCase one, Sequence sequence, SequenceCache cache)
    {
        if (sequence.Selector is not SimLayerKvPolicy.Selector { IsSettled: true } lanes || one.Values.Contains("slide=false", StringComparison.Ordinal))
            return;
        int most = one.Number("sink_tokens") + one.Number("recent_tokens"), perLayer = cache.Tables.Length / lanes.Lazy.Length;
        for (int group = 0; group < cache.Tables.Length; group++)
            Assert.InRange(cache.Tables[group].LiveSlots, 0, lanes.Lazy[group / perLayer] ? most : sequence.Computed);
    }

    private static void AssertSame(EngineRun.Output expected, EngineRun.Output said, float tolerance = 0)
    {
        Assert.Equal(expected.Finish, said.Finish);
        Assert.Equal(expected.Tokens, said.Tokens);
        for (int i = 0; i < expected.Tokens.Count; i++)
            Assert.InRange(Math.Abs(expected.Logprobs[i]!.Logprob - said.Logprobs[i]!.Logprob), 0, tolerance);
    }

    /// <summary>The same model with the query heads of every group in reverse order.</summary>
    private sealed class SwappedHeads(TinyModel model) : IWeightSource
    {
        public bool TryGet(string name, out Tensor weight)
        {
            if (!model.Weights.TryGet(name, out weight))
                return false;
            ModelConfig config = model.Config;
            int group = config.Heads / config.KvHeads, size = config.HeadDim;
            int Source(int row) => ((row / size / group * group) + group - 1 - (row / size % group)) * size + row % size;
            if (name.EndsWith("q_proj.weight", StringComparison.Ordinal))
                weight = Permute(weight, (row, column) => (Source(row), column));
            else if (name.EndsWith("o_proj.weight", StringComparison.Ordinal))
                weight = Permute(weight, (row, column) => (row, Source(column)));
            return true;
        }

        private Tensor Permute(Tensor weight, Func<int, int, (int Row, int Column)> source)
        {
            float[] from = new float[weight.Rows * weight.Columns], to = new float[from.Length];
            model.Backend.Download(weight, MemoryMarshal.AsBytes(from.AsSpan()));
            for (int row = 0; row < weight.Rows; row++)
            {
                for (int column = 0; column < weight.Columns; column++)
                {
                    (int fromRow, int fromColumn) = source(row, column);
                    to[row * weight.Columns + column] = from[fromRow * weight.Columns + fromColumn];
                }
            }

            Tensor permuted = model.Backend.Allocate(DType.F32, weight.Rows, weight.Columns);
            model.Backend.Upload(MemoryMarshal.AsBytes(to.AsSpan()), permuted);
            return permuted;
        }
    }
}
