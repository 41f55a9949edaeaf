using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

public sealed class WeightLoadingTests
{
    private static readonly ModelConfig Config = TinyModel.Config() with { IntermediateSize = 64 };

    private static DecoderModel Load(ModelConfig config, IWeightSource weights, IBackend backend, WeightFormat format, IProgress<LoadProgress>? progress = null) =>
        DecoderModel.Load(config, weights, backend, KvLayout.Of(config, KvGrouping.Layer), new DecoderLimits(64, 64), progress, format);

    [Theory]
    [InlineData(WeightFormat.Stored, WeightFormat.Stored, 0, 0)]
    [InlineData(WeightFormat.BF16, WeightFormat.BF16, 1e-4, 0.003)]
    [InlineData(WeightFormat.Int8, WeightFormat.Int8, 1e-3, 0.01)]
    [InlineData(WeightFormat.Int4, WeightFormat.Int8, 0.02, 0.12)]
    public void What_rounding_lost_is_known_and_the_head_keeps_eight_bits(WeightFormat format, WeightFormat head, double least, double most)
    {
        using var weights = new RandomWeights(Config, 5, DType.F32);
        using var backend = new CpuBackend(2);
        WeightFacts facts = Load(Config, weights, backend, format).Weights;
        Assert.Equal((format, head), (facts.Format, facts.HeadFormat));
        Assert.Equal((format, head), WeightFacts.Planned(Config, format));
        Assert.InRange(facts.Error.Relative, least, most);
        Assert.InRange(facts.WorstRelative, facts.Error.Relative, most);
        Assert.Equal(format == WeightFormat.Stored, facts.Worst is null);
        Assert.Empty(facts.Kept);
    }

    [Fact]
    public void The_worst_matrix_is_named()
    {
        using var random = new RandomWeights(Config, 5, DType.F32);
        using var backend = new CpuBackend(2);
        var weights = new Outlier(random, "model.layers.1.self_attn.k_proj.weight");
        WeightFacts facts = Load(Config, weights, backend, WeightFormat.Int8).Weights;
        Assert.Equal("model.layers.1.self_attn.k_proj.weight", facts.Worst);
        Assert.True(facts.WorstRelative > 2 * facts.Error.Relative, $"{facts.WorstRelative:P2} of {facts.Error.Relative:P2}");
    }

    [Fact]
    public void A_matrix_that_the_format_cannot_hold_stays_as_stored_and_is_named()
    {
        ModelConfig config = TinyModel.Config(); // an MLP of 48 columns
        using var weights = new RandomWeights(config, 5, DType.F32);
        using var backend = new CpuBackend(2);
        DecoderModel model = Load(config, weights, backend, WeightFormat.Int4);
        Assert.Equal(Enumerable.Range(0, 3).Select(layer => $"model.layers.{layer}.mlp.down_proj.weight"), model.Weights.Kept.AsEnumerable());
        Assert.All(new TestCache(model, 1, 8).Run([1, 2, 3]), row => Assert.All(row, logit => Assert.True(float.IsFinite(logit))));
    }

    [Fact]
    public void Where_nothing_can_be_packed_layers_and_head_are_stored()
    {
        ModelConfig config = Config with { HiddenSize = 48, IntermediateSize = 48, Heads = 2, KvHeads = 2 }; // o_proj has 16 columns
        using var weights = new RandomWeights(config, 5, DType.F32);
        using var backend = new CpuBackend(2);
        WeightFacts facts = Load(config, weights, backend, WeightFormat.Int8).Weights;
        Assert.Equal(WeightFormat.Stored, facts.HeadFormat);
        Assert.Null(facts.Worst);
        Assert.Equal(0, facts.Rounded);
        Assert.Equal((WeightFormat.Stored, WeightFormat.Stored), WeightFacts.Planned(config, WeightFormat.Int8));
        Assert.Equal((WeightFormat.BF16, WeightFormat.BF16), WeightFacts.Planned(config, WeightFormat.BF16));
    }

    [Theory]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    public void A_tied_head_is_packed_and_its_embedding_stays(WeightFormat format)
    {
        using var weights = new RandomWeights(Config, 5, DType.F32);
        ModelConfig tied = Config with { TiedEmbeddings = true };
        var asHead = new Renamed(weights, "lm_head.weight", "model.embed_tokens.weight");
        using var backend = new CpuBackend(2);
        float[][] expected = new TestCache(Load(Config, asHead, backend, format), 1, 8).Run([1, 2, 3]);
        Assert.Equal(expected, new TestCache(Load(tied, weights, backend, format), 1, 8).Run([1, 2, 3]));
        float[] stored = new TestCache(Load(tied, weights, backend, WeightFormat.Stored), 1, 8).Run([1])[0];
        Assert.NotEqual(stored, new TestCache(Load(tied, weights, backend, format), 1, 8).Run([1])[0]);
    }

    [Theory]
    [InlineData(false, WeightFormat.Stored)]
    [InlineData(false, WeightFormat.Int4)]
    [InlineData(true, WeightFormat.BF16)]
    [InlineData(true, WeightFormat.Int8)]
    public void Bytes_are_known_before_anything_is_loaded(bool isTied, WeightFormat format)
    {
        ModelConfig config = Config with { TiedEmbeddings = isTied, VocabularySize = 96 };
        using var weights = new RandomWeights(config, 5, DType.F32);
        using var backend = new CountingBackend();
        long planned = WeightFacts.BytesOf(config, weights, format);
        Load(config, weights, backend, format);
        long vectors = (2 * config.Layers + 1) * config.HiddenSize * sizeof(float), table = (long)config.VocabularySize * config.HiddenSize * sizeof(float);
        if (format != WeightFormat.Stored)
            Assert.Equal(planned, backend.PackedBytes + vectors + table);
        else
            Assert.Equal(planned, sizeof(float) * (vectors / sizeof(float) + 2L * config.VocabularySize * config.HiddenSize
                + config.Layers * config.HiddenSize * (2L * config.HiddenSize + 2 * config.KvHeads * config.HeadDim + 3 * config.IntermediateSize)));
    }

    [Theory]
    [InlineData(true, 32)]
    [InlineData(false, 32)]
    [InlineData(true, 48)] // a head that int8 cannot hold is not read again
    public void Progress_ends_at_the_whole(bool isTied, int hidden)
    {
        ModelConfig config = Config with { TiedEmbeddings = isTied, HiddenSize = hidden };
        using var weights = new RandomWeights(config, 5, DType.F32);
        using var backend = new CpuBackend(2);
        var reports = new List<LoadProgress>();
        Load(config, weights, backend, WeightFormat.Int8, new Recorder(reports));
        Assert.Equal(reports[^1].BytesTotal, reports[^1].BytesDone);
        Assert.Equal(reports.OrderBy(report => report.BytesDone), reports);
    }

    /// <summary>One element of a matrix is far larger than all others of its run.</summary>
    private sealed class Outlier(RandomWeights inner, string name) : IWeightSource
    {
        public bool TryGet(string asked, out Tensor weight)
        {
            bool found = inner.TryGet(asked, out weight);
            if (asked == name)
                System.Runtime.InteropServices.MemoryMarshal.Write(((HostBuffer)weight.Buffer).Slice(weight.Offset, sizeof(float)), 20f);
            return found;
        }
    }

    /// <summary>One weight under another's name.</summary>
    private sealed class Renamed(IWeightSource inner, string name, string isReally) : IWeightSource
    {
        public bool TryGet(string asked, out Tensor weight) => inner.TryGet(asked == name ? isReally : asked, out weight);
    }

    private sealed class Recorder(List<LoadProgress> reports) : IProgress<LoadProgress>
    {
        public void Report(LoadProgress value) => reports.Add(value);
    }
}
