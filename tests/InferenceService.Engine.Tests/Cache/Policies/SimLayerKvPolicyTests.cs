using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

public sealed class SimLayerKvPolicyTests
{
    private const int Sinks = 2;
    private const int Recent = 10;
    private const int Observed = 4;

    [Theory]
    [InlineData(5)]
    [InlineData(11)]
    [InlineData(12)]
    [InlineData(13)]
    [InlineData(40)]
    public void The_measured_share_lies_between_0_and_1_and_nothing_is_decided_before_the_ranges_are_apart(int prompt)
    {
        using var model = new TinyModel(KvGrouping.Layer);
        var shares = new List<float>();
        using var run = new EngineRun(model, EngineRun.Options(model), new SpyingPolicy(shares));
        GenerationStream stream = run.Submit(EngineRun.Request(EngineRun.Prompt(prompt, 2), 30));
        Sequence sequence = ((Generation)stream).Sequences[0];
        while (run.Engine.Loop.Step())
            if (sequence.Cache is { } cache)
                Assert.Equal(sequence.Computed >= (prompt > Sinks + Recent ? prompt : Sinks + Recent + Observed), cache.IsCompressed);
        Assert.Equal(2, shares.Count);
        Assert.All(shares, share => Assert.InRange(share, 0.05f, 1 + 1e-5f));
    }

    [Theory]
    [InlineData("LlamaForCausalLM", 10_000, 4, 0.65)]
    [InlineData("LlamaForCausalLM", 10_000, 2, 0.9)]
    [InlineData("LlamaForCausalLM", 500_000, 4, 0.9)]
    [InlineData("MistralForCausalLM", 10_000, 2, 0.8)]
    [InlineData("Qwen3ForCausalLM", 10_000, 2, 0.85)]
    [InlineData("Phi3ForCausalLM", 10_000, 2, 0.9)]
    public void A_model_family_has_its_own_threshold(string architecture, int theta, int kvHeads, double threshold)
    {
        using var model = new TinyModel(kvHeads: kvHeads);
        ModelConfig config = model.Config with { Architecture = architecture, Rope = model.Config.Rope with { Theta = theta } };
        Assert.Equal([true, false], Decide(config, threshold + 0.001, threshold - 0.001));
    }

    [Fact]
    public void Of_equally_lazy_layers_the_lower_one_is_lazy()
    {
        using var model = new TinyModel();
        Assert.Equal([true, false], Decide(model.Config, 0.5, 0.5, fullShare: 0.5));
        Assert.Equal([false, true], Decide(model.Config, 0.4, 0.5, fullShare: 0.5));
        Assert.Equal([true, true], Decide(model.Config, 0.4, 0.5, fullShare: 0));
    }

    [Fact]
    public void A_decision_outlives_the_cache_it_was_taken_from()
    {
        using var model = new TinyModel();
        KvLayout layout = KvLayout.Of(model.Config, KvGrouping.Layer);
        var choices = new SimLayerKvPolicy.Choices(0.5, null, Sinks, Recent, Observed, true);
        var context = new KvSelectorContext(model.Config, layout, TokenClasses.None, 20, null);
        var first = new SimLayerKvPolicy.Selector(choices, context);
        Select(first, layout, 0.2, 0.7, 20);
        var second = new SimLayerKvPolicy.Selector(choices, context with { Previous = first });
        Assert.Equal(AttentionSums.None, second.Watch(0, 20).Sums);
        Assert.Equal((2, 10), Select(second, layout, 0.7, 0.2, 20).Dropped(1));
        Assert.Equal([false, true], second.Lazy.ToArray());
    }

    private static bool[] Decide(ModelConfig config, double lower, double upper, double? fullShare = null)
    {
        KvLayout layout = KvLayout.Of(config, KvGrouping.Layer);
        var selector = new SimLayerKvPolicy.Selector(
            new SimLayerKvPolicy.Choices(fullShare, null, Sinks, Recent, Observed, true), new KvSelectorContext(config, layout, TokenClasses.None, 20, null));
        Select(selector, layout, lower, upper, 20);
        return selector.Lazy.ToArray();
    }

    private static KeepSet Select(SimLayerKvPolicy.Selector selector, KvLayout layout, double lower, double upper, int tokens)
    {
        var keep = new KeepSet(layout.Groups);
        selector.Select(new KvObservation
        {
            Layout = layout,
            Tokens = new int[tokens],
            PromptTokens = tokens,
            ComputedTokens = tokens,
            Lengths = [tokens, tokens],
            ColumnSums = [],
            SumStride = 0,
            RangeMass = [.. Enumerable.Repeat((float)lower * Observed, layout.KvHeads), .. Enumerable.Repeat((float)upper * Observed, layout.KvHeads)],
        }, keep);
        return keep;
    }

    /// <summary>Every layer is lazy, and what was measured is written down.</summary>
    private sealed class SpyingPolicy(List<float> shares) : IKvPolicy
    {
        public string Name => "spying";

        public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Layer);

        public KvSelector NewSelector(in KvSelectorContext context) => new Selector(
            new SimLayerKvPolicy.Selector(new SimLayerKvPolicy.Choices(null, -1, Sinks, Recent, Observed, true), context), shares);

        private sealed class Selector(SimLayerKvPolicy.Selector inner, List<float> shares) : KvSelector
        {
            public override AttentionSums Sums => inner.Sums;

            public override int FreshPromptTokens => inner.FreshPromptTokens;

            public override KvWatch Watch(int computed, int tokens) => inner.Watch(computed, tokens);

            public override void Select(in KvObservation seen, KeepSet keep)
            {
                bool decided = inner.Lazy[0];
                inner.Select(seen, keep);
                for (int layer = 0; layer < 2 && inner.Lazy[0] && !decided; layer++)
                    shares.Add((seen.RangeMass[2 * layer] + seen.RangeMass[(2 * layer) + 1]) / (2 * Observed));
            }
        }
    }
}
