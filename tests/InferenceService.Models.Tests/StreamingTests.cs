using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

/// <summary>Sinks and a window whose positions are indices in the cache, with two queries a row instead of keys rotated again.</summary>
public sealed class StreamingTests
{
    private const int Sinks = 4, Recent = 10;

    private static readonly int[] Text = [.. Enumerable.Range(0, 40).Select(i => i * 37 % 101)];

    /// <summary>Logits of every token of <see cref="Text"/>.</summary>
    private static float[][] Logits(int chunk, int sinks, int window, bool countsInCache, DType type = DType.F32)
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, type);
        using var backend = new CpuBackend(2);
        ModelConfig config = TinyModel.Config();
        var model = DecoderModel.Load(config, weights, backend, KvLayout.Of(config, KvGrouping.Layer), new DecoderLimits(64, 64));
        var cache = new TestCache(model, 1, 48) { Sinks = sinks, Window = window, CountsInCache = countsInCache };
        return [.. Text.Chunk(chunk).SelectMany(part => cache.Run(part))];
    }

    [Theory]
    [InlineData(Sinks, Recent)] // the first token is evicted by the step at position 14, and missed by the one at 15
    [InlineData(1, 3)]
    [InlineData(0, 12)]
    [InlineData(17, 1)]
    public void Two_queries_equal_rotating_all_keys_at_every_step(int sinks, int recent)
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.F32);
        var reference = new StreamingReference(TinyModel.Config(), weights, sinks, recent);
        float[][] logits = Logits(1, sinks, recent + 1, countsInCache: true);
        for (int i = 0; i < Text.Length; i++)
        {
            double[] expected = reference.Feed(Text[i]);
            double scale = expected.Max(Math.Abs);
            Assert.All(expected.Zip(logits[i]), pair => Assert.InRange(Math.Abs(pair.First - pair.Second) / scale, 0, 1e-5));
        }
    }

    [Fact]
    public void Positions_in_the_text_are_another_policy()
    {
        float[][] inCache = Logits(1, Sinks, Recent + 1, countsInCache: true), inText = Logits(1, Sinks, Recent + 1, countsInCache: false);
        Assert.Equal(inCache[..(Sinks + Recent + 1)], inText[..(Sinks + Recent + 1)]); // up to here the queries coincide
        Assert.All(inCache.Zip(inText).Skip(Sinks + Recent + 1), pair => Assert.NotEqual(pair.First, pair.Second));
    }

    [Fact]
    public void A_masked_prompt_equals_its_tokens_one_by_one()
    {
        float[][] oneByOne = Logits(1, Sinks, Recent + 1, countsInCache: true);
        Assert.Equal(oneByOne, Logits(40, Sinks, Recent + 1, countsInCache: true));
        Assert.Equal(oneByOne, Logits(7, Sinks, Recent + 1, countsInCache: true));
    }

    [Fact]
    public void A_cache_that_holds_everything_changes_no_bit()
    {
        float[][] full = Logits(7, 0, 0, countsInCache: false);
        Assert.Equal(full, Logits(7, Sinks, Text.Length - Sinks, countsInCache: true));
        Assert.NotEqual(full, Logits(7, Sinks, Recent, countsInCache: true));
    }

    [Theory]
    [InlineData(new[] { 0 }, "2 tokens has 1 sink positions")]
    [InlineData(new[] { 0, 2 }, "Row 1 meets the sinks at position 2; allowed: 0 to its own, 1.")]
    [InlineData(new[] { -1, 0 }, "Row 0 meets the sinks at position -1")]
    public void Sink_positions_that_make_no_sense_are_refused(int[] sinkPositions, string expected)
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(1);
        ModelConfig config = TinyModel.Config();
        var model = DecoderModel.Load(config, weights, backend, KvLayout.Of(config, KvGrouping.Layer), new DecoderLimits(64, 64));
        KvBatch kv = new TestCache(model, 1, 16).Batch([[1, 2]]);
        string message = Assert.Throws<ArgumentException>(() => model.Forward(new ForwardInput
        {
            TokenIds = [1, 2],
            Positions = [0, 1],
            SinkPositions = sinkPositions,
            LogitRows = [],
            Kv = kv,
        })).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }
}
