using System.Text.Json;
using InferenceService.Compute.Cpu;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Tests;

/// <summary>Embedded models whose layers share caches, against the float64 decoder of their own training script.</summary>
public sealed class EmbeddedTwinTests
{
    private static readonly string Embedded = RepositoryFolder.Path("src/InferenceService.Server/Embedded");

    private static IEnumerable<string> Names => Directory.GetDirectories(Embedded).Select(folder => Path.GetFileName(folder)!);

    [Fact]
    public void Every_embedded_model_has_goldens() =>
        Assert.All(Names, name => Assert.True(File.Exists(RepositoryFolder.Path($"tests/golden/{name}/golden.json")), $"{name} has no goldens."));

    [Fact]
    public void Those_that_share_caches_compute_their_golden_logits_token_by_token_and_in_passes()
    {
        foreach (string name in Names)
        {
            using Checkpoint checkpoint = Checkpoint.Open(Path.Combine(Embedded, name));
            if (KvLayout.Of(checkpoint.Config, KvGrouping.Model).OwnerLayers == checkpoint.Config.Layers)
                continue;
            using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(RepositoryFolder.Path($"tests/golden/{name}/golden.json")));
            AssertSequential(checkpoint, golden.RootElement);
            foreach (JsonProperty passes in golden.RootElement.GetProperty("passes").EnumerateObject())
                AssertPasses(checkpoint, golden.RootElement, int.Parse(passes.Name, System.Globalization.CultureInfo.InvariantCulture), passes.Value);
        }
    }

    private static void AssertSequential(Checkpoint checkpoint, JsonElement golden)
    {
        int[] ids = Ints(golden.GetProperty("ids")), greedy = Ints(golden.GetProperty("greedy_ids"));
        using var backend = new CpuBackend(2);
        var cache = new TestCache(Load(checkpoint.Config, checkpoint, backend, ids.Length), 1, ids.Length + greedy.Length);
        float[] logits = [];
        for (int i = 0; i < ids.Length; i++)
            AssertTop(golden.GetProperty("sequential")[i], logits = cache.Run([ids[i]])[0], 1e-4);
        var produced = new List<int> { Array.IndexOf(logits, logits.Max()) };
        while (produced.Count < greedy.Length)
        {
            logits = cache.Run([produced[^1]])[0];
            produced.Add(Array.IndexOf(logits, logits.Max()));
        }

        Assert.Equal(greedy, produced);
    }

    private static void AssertPasses(Checkpoint checkpoint, JsonElement golden, int passes, JsonElement rows)
    {
        int[] ids = Ints(golden.GetProperty("ids")), positions = Ints(golden.GetProperty("pass_positions"));
        using var backend = new CpuBackend(2);
        ModelConfig config = checkpoint.Config with { ForwardPasses = passes - 1, BackwardPasses = 1 };
        float[][] logits = new TestCache(Load(config, checkpoint, backend, ids.Length), 1, ids.Length).Run(ids);

        // The goldens know no rule that ends passes early, and what it leaves out moves K and V by less than 1e-3.
        for (int i = 0; i < positions.Length; i++)
            AssertTop(rows[i], logits[positions[i]], 2e-3);
    }

    private static DecoderModel Load(ModelConfig config, Checkpoint checkpoint, CpuBackend backend, int rows) =>
        DecoderModel.Load(config, checkpoint, backend, KvLayout.Of(config, KvGrouping.Model), new DecoderLimits(rows, rows));

    private static void AssertTop(JsonElement expected, float[] logits, double tolerance)
    {
        int[] ids = Ints(expected.GetProperty("top_ids"));
        double[] values = [.. expected.GetProperty("top_logits").EnumerateArray().Select(value => value.GetDouble())];
        double largest = Math.Max(1, values.Max(Math.Abs));
        for (int i = 0; i < ids.Length; i++)
            Assert.Equal(values[i], logits[ids[i]], tolerance * largest);
        Assert.Equal(expected.GetProperty("log_sum_exp").GetDouble(), Math.Log(logits.Sum(logit => Math.Exp(logit))), tolerance * largest);
    }

    private static int[] Ints(JsonElement list) => [.. list.EnumerateArray().Select(id => id.GetInt32())];
}
