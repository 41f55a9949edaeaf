using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests.Architectures;

/// <summary>Every architecture against an independent float64 forward; see tests/golden/architectures/README.md.</summary>
public sealed class GoldenTests
{
    /// <summary>Largest absolute difference over the largest absolute value of the golden tensor.</summary>
    private const double Tolerance = 1e-4;

    public static TheoryData<string> Cases => [.. GoldenCase.Names];

    [Fact]
    public void Every_registered_architecture_has_a_case()
    {
        string[] covered =
        [
            .. ((string[])[GoldenCase.Root, LckvGoldenTests.Root]).SelectMany(Directory.GetDirectories)
                .Select(folder => ModelConfig.FromJson(File.ReadAllBytes(Path.Combine(folder, "config.json")), []))
                .Select(config => config.Architecture).Distinct(),
        ];
        Assert.Equal(ModelRegistry.Names, covered.Order(StringComparer.Ordinal));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Every_layer_and_the_logits_agree_with_the_oracle(string name)
    {
        using var golden = new GoldenCase(name);
        using var backend = new CpuBackend(2);
        DecoderModel model = golden.Load(backend);
        var layers = new List<float[][]>();
        model.LayerFinished = (_, residual) => layers.Add(TestCache.Rows(backend, residual));
        float[][] logits = new TestCache(model, 1, 64).Run(golden.Prompt);
        Assert.Equal(golden.Config.Layers, layers.Count);
        for (int layer = 0; layer < layers.Count; layer++)
            AssertClose($"{name}: layer {layer}", golden.Rows($"layer.{layer}", backend), layers[layer]);
        AssertClose($"{name}: logits", golden.Rows("logits", backend), logits);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Greedy_continuation_equals_the_oracle_token_for_token(string name)
    {
        using var golden = new GoldenCase(name);
        using var backend = new CpuBackend(2);
        DecoderModel model = golden.Load(backend, KvGrouping.Layer);
        var cache = new TestCache(model, 1, 64);
        var produced = new List<int> { ArgMax(cache.Run(golden.Prompt, [golden.Prompt.Length - 1])[0]) };
        while (produced.Count < golden.Greedy.Length)
            produced.Add(ArgMax(cache.Run([produced[^1]])[0]));
        Assert.Equal(golden.Greedy, produced);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Chunks_blocks_and_grouping_leave_every_bit_of_the_logits(string name)
    {
        using var golden = new GoldenCase(name);
        using var backend = new CpuBackend(2);
        float[][] expected = new TestCache(golden.Load(backend), 1, 40).Run(golden.Prompt);
        foreach ((KvGrouping grouping, int blockSize, int chunk) in (ReadOnlySpan<(KvGrouping, int, int)>)
            [(KvGrouping.Model, 16, 1), (KvGrouping.Layer, 16, 7), (KvGrouping.Head, 32, 16), (KvGrouping.Head, 5, 40)])
        {
            var cache = new TestCache(golden.Load(backend, grouping), 1, 40, blockSize);
            float[][] actual = [.. golden.Prompt.Chunk(chunk).SelectMany(part => cache.Run(part))];
            for (int row = 0; row < expected.Length; row++)
                Assert.True(expected[row].AsSpan().SequenceEqual(actual[row]), $"{name}: {grouping}, blocks of {blockSize}, chunks of {chunk}: row {row} differs");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_sequence_does_not_notice_its_neighbours(string name)
    {
        using var golden = new GoldenCase(name);
        using var backend = new CpuBackend(2);
        DecoderModel model = golden.Load(backend, KvGrouping.Head);
        int[] whole = golden.Prompt, first = whole[..9], second = [.. whole[..23].Reverse()], late = whole[9..14];
        float[][] alone = new TestCache(model, 1, 40).Run(first), secondAlone = new TestCache(model, 1, 40).Run(second);
        var cache = new TestCache(model, 3, 40);
        Assert.Equal([.. alone, .. secondAlone], cache.Run([first, second, []]));
        float[][] mixed = cache.Run([late, [], first]);
        Assert.Equal(alone, mixed[late.Length..]);
        Assert.Equal(new TestCache(model, 1, 40).Run(whole.AsSpan(0, 14))[9..], mixed[..late.Length]);
    }

    internal static int ArgMax(float[] logits) => Array.IndexOf(logits, logits.Max());

    internal static void AssertClose(string what, float[][] expected, float[][] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        double largest = expected.Max(row => row.Max(Math.Abs));
        for (int row = 0; row < expected.Length; row++)
        {
            for (int column = 0; column < expected[row].Length; column++)
            {
                double difference = Math.Abs((double)expected[row][column] - actual[row][column]);
                Assert.True(difference <= Tolerance * largest, // false for NaN
                    $"{what}, row {row}, column {column}: {actual[row][column]} for {expected[row][column]} ({difference / largest:E1} of the largest value)");
            }
        }
    }
}
