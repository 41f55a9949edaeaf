using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>Sums of each query head alone: what a policy needs that asks each of them and not their mean.</summary>
public sealed class HeadSumsTests
{
    private const int Prompt = 30;
    private const int Group = 2;

    [Fact]
    public void Each_query_head_has_its_own_sums_and_their_mean_is_the_lanes()
    {
        (float[] columns, float[] bands, int stride) = Observe(maxChunk: null, preempts: false);
        const int lanes = 2 * 2;
        Assert.Equal((1 + Group) * lanes * stride, columns.Length);
        bool differ = false;
        for (int lane = 0; lane < lanes; lane++)
        {
            foreach (float[] sums in (float[][])[columns, bands])
            {
                for (int slot = 0; slot < Prompt; slot++)
                {
                    float first = At(sums, 0, lane, slot), second = At(sums, 1, lane, slot);
                    Assert.Equal(sums[(lane * stride) + slot], (first + second) / Group, 1e-4);
                    differ |= Math.Abs(first - second) > 1e-3;
                }
            }

            // Every row's weights add up to one; within a band of one slot a row sees itself alone.
            for (int head = 0; head < Group; head++)
            {
                Assert.Equal(Prompt, Enumerable.Range(0, Prompt).Sum(slot => At(columns, head, lane, slot)), 1e-3);
                Assert.All(Enumerable.Range(0, Prompt), slot => Assert.InRange(At(bands, head, lane, slot), 0, At(columns, head, lane, slot)));
            }
        }

        Assert.True(differ);

        float At(float[] sums, int head, int lane, int slot) => sums[((((1 + head) * lanes) + lane) * stride) + slot];
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(7, false)]
    [InlineData(7, true)]
    public void They_are_the_same_bits_for_any_chunks_and_after_a_swap(int chunk, bool preempts)
    {
        (float[] columns, float[] bands, _) = Observe(maxChunk: null, preempts: false);
        (float[] others, float[] otherBands, _) = Observe(chunk, preempts);
        Assert.Equal(columns, others);
        Assert.Equal(bands, otherBands);
    }

    [Fact]
    public void Choices_of_a_prompt_share_them()
    {
        var policy = new Watcher();
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model), policy);
        run.Submit(EngineRun.Request(EngineRun.Prompt(Prompt, 1), 3) with { Choices = 2 });
        run.Finish();
        Assert.Equal(2, policy.Columns.Count);
        Assert.Equal(policy.Columns[0], policy.Columns[1]);
        Assert.Equal(policy.Bands[0], policy.Bands[1]);
    }

    private static (float[] Columns, float[] Bands, int Stride) Observe(int? maxChunk, bool preempts)
    {
        var policy = new Watcher();
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = maxChunk, PrefixCaching = false }, policy);
        run.Submit(EngineRun.Request(EngineRun.Prompt(Prompt, 1), 2));
        for (int step = 0; run.Engine.Loop.Step(); step++)
            if (preempts && step == 1)
                run.Engine.Loop.PreemptAll();
        run.AssertNothingOwned();
        return (policy.Columns[0], policy.Bands[0], policy.Stride);
    }

    /// <summary>Keeps everything and remembers what it saw at the end of the prompt.</summary>
    private sealed class Watcher : IKvPolicy
    {
        public string Name => "watcher";

        public List<float[]> Columns { get; } = [];

        public List<float[]> Bands { get; } = [];

        public int Stride { get; private set; }

        public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Head);

        public KvSelector NewSelector(in KvSelectorContext context) => new Selector(this);

        private sealed class Selector(Watcher watcher) : KvSelector
        {
            private bool _seen;

            public override AttentionSums Sums => AttentionSums.Columns | AttentionSums.Band | AttentionSums.Heads;

            public override int FreshPromptTokens => Prompt;

            public override KvWatch Watch(int computed, int tokens) => computed < Prompt ? new(Sums, 0, 4, 0, 0) : default;

            public override void Select(in KvObservation seen, KeepSet keep)
            {
                if (_seen)
                    return;
                _seen = true;
                watcher.Columns.Add(seen.ColumnSums.ToArray());
                watcher.Bands.Add(seen.BandSums.ToArray());
                watcher.Stride = seen.SumStride;
            }
        }
    }
}
