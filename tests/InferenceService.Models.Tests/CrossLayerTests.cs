using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

/// <summary>What sharing caches between layers promises, in bits; the numbers themselves are held to the oracle in LckvGoldenTests.</summary>
public sealed class CrossLayerTests : IDisposable
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 30).Select(i => i * 37 % 101)];
    private static readonly ModelConfig Cyclic = TinyModel.Sharing(0, 3, 3, 3, 4);

    private readonly CpuBackend _backend = new(2);
    private readonly List<RandomWeights> _weights = [];

    public void Dispose()
    {
        _backend.Dispose();
        _weights.ForEach(weights => weights.Dispose());
    }

    private DecoderModel Load(ModelConfig config, Func<IWeightSource, IWeightSource>? wrap = null)
    {
        _weights.Add(new RandomWeights(config, 11, DType.F32));
        IWeightSource source = wrap?.Invoke(_weights[^1]) ?? _weights[^1];
        return DecoderModel.Load(config, source, _backend, KvLayout.Of(config, KvGrouping.Layer), new DecoderLimits(64, 64));
    }

    private static float[][] ByToken(DecoderModel model) => [.. ByToken(new TestCache(model, 1, 48))];

    private static IEnumerable<float[]> ByToken(TestCache cache) => Prompt.SelectMany(token => cache.Run([token]));

    private static float[][] InOneChunk(DecoderModel model) => new TestCache(model, 1, 48).Run(Prompt);

    [Fact]
    public void A_string_that_shares_nothing_is_an_ordinary_llama()
    {
        float[][] llama = InOneChunk(Load(TinyModel.Config()));
        Assert.Equal(llama, InOneChunk(Load(TinyModel.Sharing(0, 1, 2))));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(8)]
    public void As_many_tokens_as_passes_are_exact_and_the_next_is_not(int passes)
    {
        DecoderModel model = Load(Cyclic with { ForwardPasses = passes - 1, BackwardPasses = 1 });
        float[][] exact = ByToken(model), chunk = InOneChunk(model);
        Assert.Equal(exact[..passes], chunk[..passes]);
        Assert.NotEqual(exact[passes], chunk[passes]);
    }

    [Fact]
    public void As_many_passes_as_tokens_or_the_word_sequential_make_a_chunk_exact()
    {
        Assert.Equal(ByToken(Load(Cyclic)), InOneChunk(Load(Cyclic with { ForwardPasses = 29, BackwardPasses = 1 })));
        Assert.Equal(ByToken(Load(Cyclic)), InOneChunk(Load(Cyclic with { SequentialPrompt = true })));
    }

    [Fact]
    public void Passes_end_when_keys_and_values_settle()
    {
        DecoderModel model = Load(Cyclic with { ForwardPasses = 25 });
        int passes = 0;
        model.LayerFinished = (layer, _) => passes += layer == 1 ? 1 : 0;
        float[][] chunk = InOneChunk(model), exact = ByToken(model);
        Assert.InRange(passes - Prompt.Length, 3, 26); // the exact run is a pass a token
        double largest = exact.Max(row => row.Max(Math.Abs));
        Assert.InRange(exact.Zip(chunk, (a, b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max()).Max() / largest, 1e-9, 5e-3);
    }

    [Fact]
    public void What_a_slot_held_before_does_not_matter()
    {
        DecoderModel model = Load(Cyclic);
        float[][] expected = InOneChunk(model);
        var cache = new TestCache(model, 1, 48);
        cache.Run([.. Prompt.Reverse()]);
        cache.Rewind(0);
        Assert.Equal(expected, cache.Run(Prompt));
    }

    [Fact]
    public void The_first_token_gets_nothing_from_a_layer_that_reads_above()
    {
        DecoderModel model = Load(Cyclic), other = Load(Cyclic, source => new Replaced(source, _weights, "layers.1.self_attn.o_proj"));
        foreach (bool inChunk in (ReadOnlySpan<bool>)[true, false])
        {
            float[][] rows = inChunk ? InOneChunk(model) : ByToken(model), changed = inChunk ? InOneChunk(other) : ByToken(other);
            Assert.Equal(rows[0], changed[0]);
            Assert.NotEqual(rows[1], changed[1]);
        }
    }

    [Fact]
    public void Under_force_nodiag_the_first_token_gets_nothing_from_any_layer()
    {
        ModelConfig config = Cyclic with { ForceNoDiagonal = true };
        float[][] rows = InOneChunk(Load(config)), changed = InOneChunk(Load(config, source => new Replaced(source, _weights, "self_attn.o_proj")));
        Assert.Equal(rows[0], changed[0]);
        Assert.NotEqual(rows[1], changed[1]);
    }

    [Fact]
    public void Weights_of_keys_and_values_that_nobody_reads_are_never_asked_for()
    {
        ModelConfig config = TinyModel.Sharing(0, 0, 2, 2);
        float[][] expected = InOneChunk(Load(config));
        var asked = new List<string>();
        Assert.Equal(expected, InOneChunk(Load(config, source => new Poisoned(source, asked))));
        Assert.DoesNotContain(asked, name => name.Contains(".1.self_attn.k_proj") || name.Contains(".3.self_attn.v_proj"));
        Assert.Contains(asked, name => name.Contains(".2.self_attn.v_proj"));
    }

    [Theory]
    [InlineData(0, 0, 0, 0)]
    [InlineData(0, 1, 1, 1)]
    [InlineData(0, 0, 2, 2)]
    [InlineData(0, 1, 2, 3)]
    [InlineData(2, 2, 2, 2)]
    [InlineData(0, 3, 3, 3)]
    public void Rows_without_logits_may_end_early_and_change_nothing(params int[] sources)
    {
        ModelConfig config = TinyModel.Sharing(sources) with { Windows = [0, 0, 0, 5] };
        DecoderModel model = Load(config);
        foreach (int wanted in (ReadOnlySpan<int>)[1, 3, 12])
        {
            TestCache whole = new(model, 1, 48), early = new(model, 1, 48);
            for (int start = 0; start < 30; start += 15)
            {
                int[] part = Prompt[start..(start + 15)];
                Assert.Equal(whole.Run(part)[^wanted..], early.RunEndingEarly(part, wanted));
            }

            Assert.Equal(whole.Run([7]), early.Run([7]));
        }
    }

    [Fact]
    public void Rows_that_end_early_do_not_reach_the_layers_above()
    {
        DecoderModel model = Load(TinyModel.Sharing(0, 1, 1, 1));
        var rows = new Dictionary<int, int>();
        model.LayerFinished = (layer, residual) => rows[layer] = residual.Rows;
        new TestCache(model, 1, 48).RunEndingEarly(Prompt, 2);
        Assert.Equal([30, 2, 2, 2], rows.OrderBy(entry => entry.Key).Select(entry => entry.Value));
        rows.Clear();
        new TestCache(model, 1, 48).Run(Prompt, []);
        Assert.Equal([0], rows.Keys);
    }

    [Theory]
    [InlineData(0, 3, 3, 3, 4)]
    [InlineData(0, 0, 2, 2, 2)]
    public void Sums_of_a_lane_add_up_over_its_readers_and_change_nothing_else(params int[] sources)
    {
        ModelConfig config = TinyModel.Sharing(sources);
        DecoderModel model = Load(config);
        float[][] expected = InOneChunk(model);
        KvLayout layout = model.Layout;
        var cache = new TestCache(model, 1, 48);
        Tensor sums = _backend.Allocate(DType.F32, layout.OwnerLayers * config.KvHeads, 48), observed = _backend.Allocate(DType.I32, 1, AttentionProbe.ObservedFields);
        _backend.Upload(BitConverter.GetBytes((int)AttentionSums.Columns), observed);
        Tensor logits = model.Forward(new ForwardInput
        {
            TokenIds = Prompt,
            Positions = [.. Enumerable.Range(0, 30)],
            LogitRows = [.. Enumerable.Range(0, 30)],
            Kv = cache.Batch([Prompt]),
            Probe = new AttentionProbe(AttentionSums.Columns, sums, default, default, _backend.Allocate(DType.I32, 1, 1), observed, 0),
        });
        Assert.Equal(expected, TestCache.Rows(_backend, logits));
        float[][] mass = TestCache.Rows(_backend, sums);
        foreach (int owner in sources.Distinct())
        {
            // Every row spreads a mass of one, but the first row of a layer that reads above sees nothing.
            int first = Enumerable.Range(0, sources.Length).Count(layer => sources[layer] == owner && layer < owner);
            for (int head = 0; head < config.KvHeads; head++)
                Assert.Equal(30 * layout.Readers(owner) - first, mass[layout.LaneIndex(owner, head)].Sum(), 1e-2f);
        }
    }

    [Fact]
    public void Chunks_of_several_sequences_in_one_step_are_refused_and_single_tokens_are_not()
    {
        DecoderModel model = Load(Cyclic);
        var cache = new TestCache(model, 2, 48);
        Assert.Contains("runs alone", Assert.Throws<ArgumentException>(() => cache.Run([Prompt, [1]])).Message, StringComparison.Ordinal);
        float[] alone = new TestCache(model, 1, 48).Run([1])[0];
        Assert.Equal([alone, alone], cache.Run([[1], [1]]));
    }

    [Fact]
    public void Passes_over_a_chunk_allocate_no_managed_memory()
    {
        using var weights = new RandomWeights(Cyclic, 5, DType.F32);
        using var backend = new IdleBackend();
        var model = DecoderModel.Load(Cyclic, weights, backend, KvLayout.Of(Cyclic, KvGrouping.Model), new DecoderLimits(64, 64));
        int[] positions = [.. Enumerable.Range(0, 30)], wanted = [29];
        KvBatch kv = new TestCache(model, 1, 32).Batch([Prompt]);
        long least = long.MaxValue;
        for (int i = 0; i < 5; i++) // the first calls also compile
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            model.Forward(new ForwardInput { TokenIds = Prompt, Positions = positions, LogitRows = wanted, Kv = kv });
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    [Fact]
    public void A_layout_finds_cycles_and_what_they_cost()
    {
        var layout = new KvLayout([2, 2, 2, 5, 6, 5, 6, 7], 2, KvGrouping.Model, promptPasses: 9); // layer 4 stretches the second cycle to 6
        Assert.Equal([2, -1, -1, 6, -1, -1, -1, -1], Enumerable.Range(0, 8).Select(layout.LoopEnd));
        Assert.Equal((4, 7, true), (layout.OwnerLayers, layout.LastOwner, layout.IsCyclic));
        Assert.Equal([true, true, false, true, true, false, false, false], Enumerable.Range(0, 8).Select(layout.ReadsAbove));
        Assert.Equal([2, 5, 6], Enumerable.Range(0, 8).Where(layout.IsReadBelow));
        Assert.Equal((1, 4, 9, 9), (layout.PassesOf(1), layout.PassesOf(4), layout.PassesOf(9), layout.PassesOf(64)));
        Assert.Equal(64 * 8, layout.CostOf(64)); // (8 + 8 · 7) / 8 layers
        Assert.Equal(64, new KvLayout([0, 0, 2, 2], 2, KvGrouping.Model, promptPasses: 9).CostOf(64));
        Assert.Equal(int.MaxValue, new KvLayout([1, 1], 2, KvGrouping.Model, int.MaxValue).CostOf(1_000_000));
    }

    /// <summary>Takes some weights from another model of the same shape.</summary>
    private sealed class Replaced(IWeightSource source, List<RandomWeights> others, string part) : IWeightSource
    {
        private readonly Lazy<RandomWeights> _other = new(() =>
        {
            others.Add(new RandomWeights(Cyclic, 99, DType.F32));
            return others[^1];
        });

        public bool TryGet(string name, out Tensor weight) => name.Contains(part) ? _other.Value.TryGet(name, out weight) : source.TryGet(name, out weight);
    }

    /// <summary>Has every weight there could be: NaN where the model should not look.</summary>
    private sealed class Poisoned(IWeightSource source, List<string> asked) : IWeightSource
    {
        public bool TryGet(string name, out Tensor weight)
        {
            asked.Add(name);
            if (source.TryGet(name, out weight))
                return true;
            var buffer = new HostBuffer(16 * 32 * sizeof(float));
            buffer.Slice(0, (int)buffer.ByteLength).Fill(0xFF);
            weight = Tensor.Dense(buffer, 0, DType.F32, 16, 32);
            return true;
        }
    }
}
