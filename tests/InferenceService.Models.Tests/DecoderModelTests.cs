using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

public sealed class DecoderModelTests
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 40).Select(i => i * 37 % 101)];

    private static ModelConfig Tiny(string architecture = "LlamaForCausalLM") => new()
    {
        Architecture = architecture,
        HiddenSize = 32,
        Layers = 3,
        Heads = 4,
        KvHeads = 2,
        HeadDim = 8,
        IntermediateSize = 48,
        VocabularySize = 101,
        MaxPositions = 128,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10_000, RotaryDim = 8 },
        Windows = [0, 0, 0],
        UsesRope = [true, true, true],
    };

    private static float[][] Logits(ModelConfig config, KvGrouping grouping, int blockSize, int chunk, Func<int, int[]?>? rows = null)
    {
        using var weights = new RandomWeights(config, 5, DType.BF16);
        using var backend = new CpuBackend(2);
        var model = DecoderModel.Load(config, weights, backend, KvLayout.Plain(config, grouping), new DecoderLimits(64, 64));
        var cache = new TestCache(model, 1, 48, blockSize);
        return [.. Prompt.Chunk(chunk).SelectMany(part => cache.Run(part, rows?.Invoke(part.Length)))];
    }

    [Theory]
    [InlineData(KvGrouping.Model, 16, 1)]
    [InlineData(KvGrouping.Layer, 8, 7)]
    [InlineData(KvGrouping.Head, 3, 16)]
    [InlineData(KvGrouping.Head, 32, 40)]
    public void Logits_depend_neither_on_chunks_nor_on_blocks_nor_on_grouping(KvGrouping grouping, int blockSize, int chunk)
    {
        float[][] expected = Logits(Tiny(), KvGrouping.Model, 16, 40);
        Assert.All(expected.SelectMany(row => row), value => Assert.True(float.IsFinite(value)));
        Assert.Equal(expected, Logits(Tiny(), grouping, blockSize, chunk));
    }

    [Fact]
    public void Rows_without_logits_change_nothing()
    {
        float[][] all = Logits(Tiny(), KvGrouping.Layer, 16, 10);
        Assert.Equal([all[9], all[19], all[29], all[39]], Logits(Tiny(), KvGrouping.Layer, 16, 10, n => [n - 1]));
        Assert.Empty(Logits(Tiny(), KvGrouping.Layer, 16, 10, _ => []));
    }
}
