using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

public sealed class FastGenPolicyTests
{
    private const int Prompt = 20;

    [Theory]
    [InlineData(0, nameof(FastGenPolicy.Plan.Special))]
    [InlineData(0.09, nameof(FastGenPolicy.Plan.Special))]
    [InlineData(0.11, nameof(FastGenPolicy.Plan.Punctuation))]
    [InlineData(0.25, nameof(FastGenPolicy.Plan.Frequent))]
    [InlineData(0.45, nameof(FastGenPolicy.Plan.Local))]
    [InlineData(0.9, nameof(FastGenPolicy.Plan.Full))]
    [InlineData(1, nameof(FastGenPolicy.Plan.Full))]
    [InlineData(2, nameof(FastGenPolicy.Plan.Full))]
    public void The_first_plan_that_recovers_enough_is_taken(double target, string plan)
    {
        // Every token receives 1/20 of the attention, half of that from the band; tokens 0 and 7 are special, 3 and 9 punctuation.
        Head head = new(target);
        head.Begin(Enumerable.Repeat(1f, Prompt), Enumerable.Repeat(0.5f, Prompt));
        Assert.Equal(plan, head.Selector.Plans[0].ToString());
    }

    /// <summary>Two query heads: one spends all of its attention on special tokens, the other a part.</summary>
    [Theory]
    [InlineData(0.5, false, nameof(FastGenPolicy.Plan.Special))]
    [InlineData(0.5, true, nameof(FastGenPolicy.Plan.Punctuation))]
    [InlineData(0.1, true, nameof(FastGenPolicy.Plan.Special))]
    [InlineData(0.95, true, nameof(FastGenPolicy.Plan.Full))]
    public void Each_of_the_heads_that_share_a_cache_must_retain_the_target_where_that_is_asked(double target, bool eachHead, string plan)
    {
        Head head = new(target, eachHead: eachHead);
        float[] first = new float[Prompt], second = new float[Prompt];
        (first[0], first[7]) = (12, 8);
        (second[0], second[3], second[19]) = (3, 9, 3);
        second.AsSpan(12, 4).Fill(1.25f);
        head.Begin([.. first.Zip(second, (a, b) => (a + b) / 2), .. first, .. second], new float[3 * Prompt]);
        Assert.Equal(plan, head.Selector.Plans[0].ToString());
        // Their order is nobody's business.
        Head other = new(target, eachHead: eachHead);
        other.Begin([.. first.Zip(second, (a, b) => (a + b) / 2), .. second, .. first], new float[3 * Prompt]);
        Assert.Equal(head.Selector.Plans[0], other.Selector.Plans[0]);
    }

    [Fact]
    public void Of_equally_attended_tokens_the_lower_position_is_kept()
    {
        Head head = new(0.25);
        Assert.Equal([0, 1, 2, 3, 4, 7, 9], head.Begin(Enumerable.Repeat(1f, Prompt), Enumerable.Repeat(0.5f, Prompt)));
    }

    [Fact]
    public void The_most_attended_are_kept_beside_the_classes()
    {
        Head head = new(0.3);
        float[] columns = [.. Enumerable.Repeat(0.5f, Prompt)];
        (columns[12], columns[15], columns[17]) = (4, 5, 3);
        Assert.Equal([0, 3, 7, 9, 12, 15, 17], head.Begin(columns, columns));
    }

    [Fact]
    public void A_special_head_keeps_special_tokens_only_also_in_decode()
    {
        Head head = new(0);
        Assert.Equal([0, 7], head.Begin(Enumerable.Repeat(1f, Prompt), Enumerable.Repeat(0.5f, Prompt)));
        Assert.Equal(2, head.Continue([0, 7, 20], token: 50, [1, 1, 1]));
        Assert.Equal(-1, head.Continue([0, 7, 21], token: Head.Special, [1, 1, 1]));
    }

    [Fact]
    public void The_least_attended_of_the_unprotected_gives_way()
    {
        Head head = new(0.25);
        head.Begin(Enumerable.Repeat(1f, Prompt), Enumerable.Repeat(0.5f, Prompt));
        // Budget ceil(0.15 · 21) = 4: the fourth may stay. 0, 3, 7, 9 are classes; the newest two are protected.
        Assert.Equal(-1, head.Continue([0, 1, 2, 3, 4, 7, 9, 20], token: 50, [0, 5, 6, 0, 4, 0, 0, 0.1f]));
        Assert.Equal(4, head.Continue([0, 1, 2, 3, 4, 7, 9, 20, 21], token: 50, [0, 5, 6, 0, 4, 0, 0, 0.2f, 0.1f]));
        Assert.Equal(4, head.Continue([0, 1, 2, 3, 20, 7, 9, 21, 22], token: 50, [0, 5, 6, 0, 0.2f, 0, 0, 0.1f, 0.1f]));
    }

    [Fact]
    public void Of_equally_attended_ones_the_later_gives_way()
    {
        Head head = new(0.25, protect: 0);
        head.Begin(Enumerable.Repeat(1f, Prompt), Enumerable.Repeat(0.5f, Prompt));
        head.Continue([0, 1, 2, 3, 4, 7, 9, 20], token: 50, new float[8]);
        Assert.Equal(8, head.Continue([0, 1, 2, 3, 4, 7, 9, 20, 21], token: 50, new float[9]));
    }

    [Theory]
    [InlineData(0, 10, 0)] // only the newest token ever goes
    [InlineData(0.25, 10, 1)] // it ranks: one slot a step
    [InlineData(0.9, 10, 0)]
    [InlineData(1, 0, 0)] // never asks for anything
    public void Blocks_that_may_be_written_are_all_until_the_plan_stands_and_then_one_a_ranking_head(double target, int before, int after)
    {
        Head head = new(target);
        Assert.Equal((before, false), (head.Selector.MayWrite(10), head.Selector.IsSettled));
        head.Begin(Enumerable.Repeat(1f, Prompt), Enumerable.Repeat(0.5f, Prompt));
        Assert.Equal((after, true), (head.Selector.MayWrite(10), head.Selector.IsSettled));
    }

    [Fact]
    public void Choices_that_share_a_prompt_and_drop_nothing_keep_no_blocks_free_for_copies()
    {
        // A prompt of 160 tokens and four choices of 24 fit the pool; copies of what they share would not.
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 160 + 4 * 28), PolicyCases.Create("everything recovered"));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(160, 1), 24) with { Choices = 4 });
        run.Finish();
        Assert.All(EngineRun.Read(stream, 4), output => Assert.Equal(24, output.Tokens.Count));
        Assert.Equal(0, run.Engine.Statistics.Preemptions);
        run.AssertNothingOwned();
    }

    /// <summary>One head: 15 % frequent, a window of 4, protected newest; ids equal positions in the prompt.</summary>
    private sealed class Head
    {
        public const int Special = 7;

        private readonly KvLayout _layout = new([0], 1, KvGrouping.Head);
        private readonly List<int> _text = [.. Enumerable.Range(0, Prompt)];
        private readonly KeepSet _keep = new(1);

        public Head(double target, int protect = 2, bool eachHead = false)
        {
            using var model = new TinyModel();
            var classes = new TokenClasses([0, Special], [3, 9]);
            Selector = new FastGenPolicy.Selector(
                new FastGenPolicy.Choices(target, 0.2, 0.15, 0, 0, protect, true, EachHead: eachHead), new KvSelectorContext(model.Config, _layout, classes, Prompt, null));
        }

        public FastGenPolicy.Selector Selector { get; }

        public int[] Begin(IEnumerable<float> columns, IEnumerable<float> bands)
        {
            Select([.. Enumerable.Range(0, Prompt)], [.. columns], [.. bands]);
            return [.. _keep.Survivors(0) ?? [.. Enumerable.Range(0, Prompt)]];
        }

        public int Continue(int[] positions, int token, float[] columns)
        {
            _text.Add(token);
            _keep.Clear();
            Select(positions, columns, []);
            return _keep.Evicted(0);
        }

        private void Select(int[] positions, float[] columns, float[] bands) => Selector.Select(new KvObservation
        {
            Layout = _layout,
            Tokens = _text.ToArray(),
            PromptTokens = Prompt,
            ComputedTokens = _text.Count,
            Lengths = [positions.Length],
            ColumnSums = columns,
            BandSums = bands,
            SumStride = positions.Length,
            SlotPositions = [positions],
        }, _keep);
    }
}
