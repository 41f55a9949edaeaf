using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>What must hold for every policy of the registry, whatever the paper says.</summary>
public sealed class KvPolicyInvariantTests
{
    private const int Generated = 24;
    private static readonly int[] Prompt = EngineRun.Prompt(41, 4);
    private static readonly SamplingParams Greedy = new() { Temperature = 0, TopLogprobs = 0 };

    public static TheoryData<string> All => PolicyCases.All;

    public static TheoryData<string, int, int> NeutralShapes()
    {
        var data = new TheoryData<string, int, int>();
        foreach (string label in PolicyCases.Neutral)
            foreach (int kvHeads in (int[])[4, 2, 1])
                foreach (int blockSize in (int[])[4, 16])
                    data.Add(label, kvHeads, blockSize);
        return data;
    }

    [Fact]
    public void Every_registered_policy_has_a_case() =>
        Assert.Equal(KvPolicyRegistry.Names.Where(name => name != "lckv"), PolicyCases.Policies.Order(StringComparer.Ordinal)); // lckv needs its own checkpoints

    [Theory]
    [MemberData(nameof(NeutralShapes))]
    public void A_neutral_setting_equals_full_bit_for_bit(string label, int kvHeads, int blockSize)
    {
        using var model = new TinyModel(KvGrouping.Head, kvHeads: kvHeads);
        using var run = new EngineRun(model, EngineRun.Options(model, blockSize: blockSize), new FullKvPolicy());
        AssertSame(Say(run, new FullKvPolicy()), Say(run, PolicyCases.Create(label)));
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Chunks_change_no_plan_and_no_logits(string label)
    {
        using var model = new TinyModel(KvGrouping.Head);
        (EngineRun.Output Said, string Kept)[] runs = [.. ((int?[])[null, 1, 7, 4]).Select(chunk =>
        {
            using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = chunk }, PolicyCases.Create(label));
            return SayAndKeep(run, null);
        })];
        foreach ((EngineRun.Output said, string kept) in runs)
        {
            AssertSame(runs[0].Said, said);
            Assert.Equal(runs[0].Kept, kept);
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void A_prefix_hit_says_and_keeps_what_a_cold_run_does(string label)
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model), new FullKvPolicy());
        IKvPolicy policy = PolicyCases.Create(label);
        (EngineRun.Output cold, string kept) = SayAndKeep(run, policy);
        (EngineRun.Output warm, string keptWarm) = SayAndKeep(run, policy, minCached: label == "heads by the whole prompt" ? 0 : 32);
        AssertSame(cold, warm);
        Assert.Equal(kept, keptWarm);

        // Another policy's prompt blocks serve too, unless they were computed under a mask; and it left them as they were.
        EngineRun.Output full = Say(run, new FullKvPolicy());
        using var alone = new EngineRun(model, EngineRun.Options(model), new FullKvPolicy());
        AssertSame(Say(alone, new FullKvPolicy()), full);
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Preempted_at_any_step_it_says_the_same(string label)
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var alone = new EngineRun(model, EngineRun.Options(model), PolicyCases.Create(label));
        EngineRun.Output expected = Say(alone, null);
        foreach (long swapBytes in (long[])[long.MaxValue, 0])
        {
            for (int step = 1; step < 16; step++)
            {
                using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = 11, SwapBytes = swapBytes }, PolicyCases.Create(label));
                GenerationStream stream = run.Submit(EngineRun.Request(Prompt, Generated, Greedy));
                for (int before = 0; before < step; before++)
                    run.Engine.Loop.Step();
                run.Engine.Loop.PreemptAll();
                run.Finish();
                AssertSame(expected, EngineRun.Read(stream)[0]);
                run.AssertNothingOwned();
            }
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Choices_of_one_prompt_say_what_each_says_alone(string label)
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model), PolicyCases.Create(label));
        GenerationRequest request = EngineRun.Request(Prompt, Generated, new SamplingParams { Seed = 5, TopLogprobs = 0 }) with { Choices = 3 };
        EngineRun.Output[] together = run.Run(request);
        for (int choice = 0; choice < 3; choice++)
            AssertSame(run.Run(request with { Choices = 1, Sampling = request.Sampling with { Seed = 5 + choice } })[0], together[choice]);
        run.AssertNothingOwned();
    }

    [Theory]
    [InlineData("stream", KvGrouping.Model)]
    [InlineData("stream", KvGrouping.Layer)]
    [InlineData("all lazy", KvGrouping.Layer)]
    [InlineData("half lazy", KvGrouping.Layer)]
    [InlineData("half lazy, growing", KvGrouping.Layer)]
    public void Groups_finer_than_needed_answer_alike(string label, KvGrouping needed)
    {
        (EngineRun.Output Said, string Kept) Run(KvGrouping grouping)
        {
            using var model = new TinyModel(grouping);
            using var run = new EngineRun(model, EngineRun.Options(model), PolicyCases.Create(label));
            return SayAndKeep(run, null);
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
    [InlineData("heads", 2)]
    [InlineData("heads by the whole prompt", 1)]
    [InlineData("half lazy", 2)]
    public void The_order_of_the_query_heads_of_a_group_changes_no_plan(string label, int kvHeads)
    {
        using var model = new TinyModel(KvGrouping.Head, kvHeads: kvHeads);
        DecoderModel twin = DecoderModel.Load(model.Config, new SwappedHeads(model), model.Backend, model.Decoder.Layout, model.Decoder.Limits);
        using var run = new EngineRun(model, EngineRun.Options(model), PolicyCases.Create(label));
        using var other = new EngineRun(twin, EngineRun.Options(model), PolicyCases.Create(label));
        (EngineRun.Output said, string kept) = SayAndKeep(run, null);
        (EngineRun.Output saidByTwin, string keptByTwin) = SayAndKeep(other, null);
        AssertSame(said, saidByTwin, 1e-4f);
        Assert.Equal(kept, keptByTwin);
    }

    private static EngineRun.Output Say(EngineRun run, IKvPolicy? policy) =>
        run.Run(EngineRun.Request(Prompt, Generated, Greedy) with { KvPolicy = policy })[0];

    /// <summary>Output and the positions that every lane keeps after every token.</summary>
    private static (EngineRun.Output Said, string Kept) SayAndKeep(EngineRun run, IKvPolicy? policy, int minCached = 0)
    {
        GenerationStream stream = run.Submit(EngineRun.Request(Prompt, Generated, Greedy) with { KvPolicy = policy });
        Sequence sequence = ((Generation)stream).Sequences[0];
        var kept = new List<string>();
        while (run.Engine.Loop.Step())
        {
            if (sequence.Cache is not { } cache)
                continue;
            AssertBounds(sequence, cache);
            if (sequence.Computed >= Prompt.Length)
                kept.Add(KeptLanes.Of(cache, run.Engine.Model.Layout.LanesPerGroup));
        }

        Assert.True(stream.CachedTokens >= minCached, $"{stream.CachedTokens} tokens came from the cache.");
        return (EngineRun.Read(stream)[0], string.Join('|', kept));
    }

    /// <summary>Every lane ends with the newest token or has dropped it on purpose, and holds no more than its policy allows.</summary>
    private static void AssertBounds(Sequence sequence, SequenceCache cache)
    {
        KvMask mask = sequence.Generation.Policy.Mask;
        for (int group = 0; group < cache.Tables.Length; group++)
        {
            BlockTable table = cache.Tables[group];
            Assert.InRange(table.LiveSlots, 0, mask.IsNone ? sequence.Computed : Math.Min(sequence.Computed, mask.Sinks + mask.Window - 1));
            if (sequence.Selector is FastGenPolicy.Selector heads && sequence.Computed >= sequence.PromptLength)
                Assert.InRange(table.LiveSlots, 0, heads.Budget(heads.Plans[group], sequence.Tokens[..sequence.Computed]));
        }
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
