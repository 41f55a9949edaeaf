using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

public sealed class DecoderModelTests
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 40).Select(i => i * 37 % 101)];

    private static float[][] Logits(ModelConfig config, IWeightSource weights, int chunk, Func<int, int[]?>? rows = null)
    {
        using var backend = new CpuBackend(2);
        var cache = new TestCache(Load(config, weights, backend), 1, 48);
        return [.. Prompt.Chunk(chunk).SelectMany(part => cache.Run(part, rows?.Invoke(part.Length)))];
    }

    private static DecoderModel Load(ModelConfig config, IWeightSource weights, IBackend backend, IProgress<LoadProgress>? progress = null) =>
        DecoderModel.Load(config, weights, backend, KvLayout.Of(config, KvGrouping.Layer), new DecoderLimits(64, 8 * 8), progress);

    [Fact]
    public void Rows_without_logits_change_nothing()
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        float[][] all = Logits(TinyModel.Config(), weights, 10);
        Assert.Equal([all[9], all[19], all[29], all[39]], Logits(TinyModel.Config(), weights, 10, n => [n - 1]));
        Assert.Equal([all[0], all[8], all[10], all[18], all[20], all[28], all[30], all[38]], Logits(TinyModel.Config(), weights, 10, _ => [0, 8]));
        Assert.Empty(Logits(TinyModel.Config(), weights, 10, _ => []));
    }

    [Fact]
    public void A_step_without_logits_still_writes_the_cache()
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        float[][] all = Logits(TinyModel.Config(), weights, 40), last = Logits(TinyModel.Config(), weights, 39, n => n == 39 ? [] : [0]);
        Assert.Equal([all[39]], last);
    }

    [Theory]
    [InlineData(DType.F16, 0.01f)]
    [InlineData(DType.BF16, 0.1f)]
    public void A_cache_of_half_precision_is_close_and_as_indifferent_to_chunks(DType type, float tolerance)
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(2);
        DecoderModel model = Load(TinyModel.Config(), weights, backend);
        float[] exact = [.. new TestCache(model, 1, 48).Run(Prompt).SelectMany(row => row)];
        float[] whole = [.. new TestCache(model, 1, 48, 16, type).Run(Prompt).SelectMany(row => row)];
        var cache = new TestCache(model, 1, 48, 16, type);
        Assert.Equal(whole, Prompt.Chunk(7).SelectMany(part => cache.Run(part)).SelectMany(row => row));
        Assert.NotEqual(exact, whole);
        Assert.InRange(exact.Zip(whole, (a, b) => Math.Abs(a - b)).Max() / exact.Max(Math.Abs), 0, tolerance);
    }

    [Fact]
    public void Weights_of_different_types_are_stacked_without_loss()
    {
        using var exact = new RandomWeights(TinyModel.Config(), 5, DType.F32);
        using var rounded = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        var widened = new WidenedWeights(rounded);
        var mixed = new MixedWeights(name => name.Contains("k_proj") || name.Contains("up_proj") ? widened : rounded);
        Assert.Equal(Logits(TinyModel.Config(), rounded, 40), Logits(TinyModel.Config(), mixed, 40));
        Assert.NotEqual(Logits(TinyModel.Config(), exact, 40), Logits(TinyModel.Config(), mixed, 40));
    }

    [Fact]
    public void Loading_reports_every_byte()
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(1);
        var seen = new Seen();
        Load(TinyModel.Config(), weights, backend, seen);
        Assert.Equal(seen.Reports.OrderBy(report => report.BytesDone).Distinct(), seen.Reports);
        Assert.All(seen.Reports, report => Assert.Equal(seen.Reports[^1].BytesDone, report.BytesTotal));
    }

    [Fact]
    public void A_missing_or_misshapen_weight_is_named()
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(1);
        var none = new MixedWeights(name => name.Contains("layers.2.mlp.down") ? null : weights);
        Assert.Equal("Weight 'model.layers.2.mlp.down_proj.weight' is missing.",
            Assert.Throws<CheckpointException>(() => Load(TinyModel.Config(), none, backend)).Message);
        Assert.Equal("Weight 'model.embed_tokens.weight' has shape [101, 32]; config.json asks for [102, 32].",
            Assert.Throws<CheckpointException>(() => Load(TinyModel.Config() with { VocabularySize = 102 }, weights, backend)).Message);
    }

    [Fact]
    public void A_layout_that_shares_other_caches_than_the_checkpoint_is_refused()
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(1);
        var shared = new KvLayout([0, 0, 2], 2, KvGrouping.Model);
        string message = Assert.Throws<ArgumentException>(
            () => DecoderModel.Load(TinyModel.Config(), weights, backend, shared, new DecoderLimits(8, 8))).Message;
        Assert.Contains("Layer 1 of the KV layout reads the cache of layer 0; the checkpoint says 1.", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => DecoderModel.Load(
            TinyModel.Config(), weights, backend, new KvLayout([0, 1, 2], 4, KvGrouping.Model), new DecoderLimits(8, 8)));
    }

    [Theory]
    [InlineData(new int[] { }, null, "0 rows")]
    [InlineData(new[] { 101 }, null, "Token id 101; allowed: 0 to 100")]
    [InlineData(new[] { -1 }, null, "Token id -1")]
    [InlineData(new[] { 1, 2 }, new[] { 2 }, "Logit row 2")]
    [InlineData(new[] { 1, 2 }, new[] { 1, 0 }, "Logit row 0 after row 1")]
    [InlineData(new[] { 1, 2 }, new[] { 0, 0 }, "Logit row 0 after row 0")]
    [InlineData(new[] { 1, 2 }, new[] { 0, 1, 2 }, "3 logit rows; allowed: 0 to 2")]
    public void A_step_that_makes_no_sense_is_refused(int[] tokens, int[]? logitRows, string expected)
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(1);
        var cache = new TestCache(Load(TinyModel.Config(), weights, backend), 1, 16);
        Assert.Contains(expected, Assert.Throws<ArgumentException>(() => cache.Run(tokens, logitRows)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_step_of_more_rows_than_the_model_was_loaded_for_is_refused()
    {
        using var weights = new RandomWeights(TinyModel.Config(), 5, DType.BF16);
        using var backend = new CpuBackend(1);
        var cache = new TestCache(Load(TinyModel.Config(), weights, backend), 1, 80);
        Assert.Contains("65 rows; allowed: 1 to 64", Assert.Throws<ArgumentException>(() => cache.Run(new int[65])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Column_sums_of_each_layer_go_to_its_own_rows()
    {
        ModelConfig config = TinyModel.Config();
        using var weights = new RandomWeights(config, 5, DType.BF16);
        using var backend = new CpuBackend(2);
        DecoderModel model = Load(config, weights, backend);
        var cache = new TestCache(model, 1, 16);
        Tensor sums = backend.Allocate(DType.F32, config.Layers * config.KvHeads, 16), rows = backend.Allocate(DType.I32, 1, 1);
        Tensor observed = backend.Allocate(DType.I32, 1, AttentionProbe.ObservedFields);
        backend.Upload(MemoryMarshal.AsBytes<int>([(int)AttentionSums.Columns, 0, 0, 0, 0]), observed);
        int[] tokens = Prompt[..12];
        model.Forward(new ForwardInput
        {
            TokenIds = tokens,
            Positions = Enumerable.Range(0, 12).ToArray(),
            LogitRows = [],
            Kv = cache.Batch([tokens]),
            Probe = new AttentionProbe(AttentionSums.Columns, sums, default, default, rows, observed, 0),
        });
        float[][] mass = TestCache.Rows(backend, sums);
        Assert.All(mass, row => Assert.Equal(12, row.Sum(), 1e-3f)); // every one of 12 rows spreads a mass of one
        Assert.Equal(mass.Length, mass.Select(row => row[0]).Distinct().Count());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_layer_loop_allocates_no_managed_memory(bool sinks)
    {
        ModelConfig config = TinyModel.Config("Qwen3ForCausalLM");
        using var weights = new RandomWeights(config, 5, DType.BF16);
        using var backend = new IdleBackend(); // what the verbs allocate is the backend's own test
        DecoderModel model = Load(config, weights, backend);
        var cache = new TestCache(model, 1, 16);
        int[] tokens = Prompt[..8], positions = [.. Enumerable.Range(0, 8)], wanted = [3, 7];
        KvBatch kv = cache.Batch([tokens]);
        long least = long.MaxValue;
        for (int i = 0; i < 5; i++) // the first calls also compile
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            model.Forward(new ForwardInput
            {
                TokenIds = tokens,
                Positions = positions,
                SinkPositions = sinks ? positions : [],
                LogitRows = wanted,
                Kv = kv,
            });
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    private sealed class Seen : IProgress<LoadProgress>
    {
        public List<LoadProgress> Reports { get; } = [];

        public void Report(LoadProgress value) => Reports.Add(value);
    }

    /// <summary>Asks another source, depending on the name.</summary>
    private sealed class MixedWeights(Func<string, IWeightSource?> choose) : IWeightSource
    {
        public bool TryGet(string name, out Tensor weight)
        {
            weight = default;
            return choose(name)?.TryGet(name, out weight) ?? false;
        }
    }

    /// <summary>The same bf16 numbers held as f32.</summary>
    private sealed class WidenedWeights(IWeightSource source) : IWeightSource
    {
        public bool TryGet(string name, out Tensor weight)
        {
            Assert.True(source.TryGet(name, out Tensor stored));
            var buffer = new HostBuffer((long)stored.Rows * stored.Columns * sizeof(float));
            Span<ushort> from = MemoryMarshal.Cast<byte, ushort>(((HostBuffer)stored.Buffer).Slice(stored.Offset, (int)stored.ByteLength));
            Span<uint> to = MemoryMarshal.Cast<byte, uint>(buffer.Slice(0, (int)buffer.ByteLength));
            for (int i = 0; i < to.Length; i++)
                to[i] = (uint)from[i] << 16;
            weight = Tensor.Dense(buffer, 0, DType.F32, stored.Rows, stored.Columns);
            return true;
        }
    }
}
