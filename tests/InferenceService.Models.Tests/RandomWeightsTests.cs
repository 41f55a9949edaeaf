using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

public sealed class RandomWeightsTests
{
    public static TheoryData<string> Architectures => [.. ModelRegistry.Names];

    [Theory, MemberData(nameof(Architectures))]
    public void Every_architecture_runs_on_them_and_does_not_repeat_itself(string architecture)
    {
        foreach (bool tied in (ReadOnlySpan<bool>)[false, true])
            AssertVaried(architecture, tied);
    }

    private static void AssertVaried(string architecture, bool tied)
    {
        ModelConfig config = TinyModel.Config(architecture) with { TiedEmbeddings = tied, AttentionBias = true, MlpBias = true };
        using var weights = new RandomWeights(config, 3, DType.BF16);
        using var backend = new CpuBackend(2);
        var model = DecoderModel.Load(config, weights, backend, KvLayout.Of(config, KvGrouping.Model), new DecoderLimits(8, 8));
        var cache = new TestCache(model, 1, 32);
        var produced = new List<int> { 1 };
        for (int i = 0; i < 24; i++)
        {
            float[] logits = cache.Run([produced[^1]])[0];
            Assert.InRange(logits.Max() - logits.Average(), 0.5f, 100f);
            produced.Add(Array.IndexOf(logits, logits.Max()));
        }

        Assert.InRange(produced.Distinct().Count(), 4, 25);
    }

    [Theory]
    [InlineData(DType.F32)]
    [InlineData(DType.F16)]
    [InlineData(DType.BF16)]
    public void The_same_seed_gives_the_same_weights_and_types_agree_up_to_rounding(DType type)
    {
        ModelConfig config = TinyModel.Config();
        using RandomWeights one = new(config, 3, type), same = new(config, 3, type), exact = new(config, 3, DType.F32), other = new(config, 4, type);
        const string name = "model.layers.1.mlp.up_proj.weight";
        Assert.Equal(Numbers(one, name), Numbers(same, name));
        Assert.NotEqual(Numbers(one, name), Numbers(other, name));
        Assert.Equal(Numbers(exact, name), Numbers(one, name), (a, b) => Math.Abs(a - b) <= Math.Abs(a) / 256 + 1e-6f);
    }

    [Fact]
    public void Names_that_the_architecture_does_not_have_are_not_there()
    {
        using var weights = new RandomWeights(TinyModel.Config() with { TiedEmbeddings = true }, 3, DType.F32);
        Assert.False(weights.TryGet("lm_head.weight", out _));
        Assert.True(weights.TryGet("model.embed_tokens.weight", out _));
    }

    [Fact]
    public void The_rule_is_the_one_of_the_golden_models() // first numbers of seed 1234, "x", made by make_goldens.py
    {
        var numbers = new SeededUniform(1234, "x", 2f, 0.5f);
        Assert.Equal([1.4515319f, 2.2595682f, 2.115511f, -1.3795927f], [numbers[0], numbers[1], numbers[2], numbers[1_000_000]]);
    }

    private static float[] Numbers(RandomWeights weights, string name)
    {
        Assert.True(weights.TryGet(name, out Tensor weight));
        using var backend = new CpuBackend(1);
        Tensor output = backend.Allocate(DType.F32, 1, weight.Columns), ids = backend.Allocate(DType.I32, 1, 1);
        backend.Embed(weight, ids, output);
        return TestCache.Rows(backend, output)[0];
    }
}
