using System.Text.Json;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests.Architectures;

/// <summary>Every kind of <c>layer_types</c> against an independent float64 forward; see tests/golden/lckv/README.md.</summary>
public sealed class LckvGoldenTests
{
    public static string Root { get; } = RepositoryFolder.Path("tests/golden/lckv");

    public static TheoryData<string> Cases => [.. Directory.GetDirectories(Root).Select(folder => Path.GetFileName(folder)!).Order()];

    public static TheoryData<string, int> Chunks
    {
        get
        {
            var cases = new TheoryData<string, int>();
            foreach (string folder in Directory.GetDirectories(Root).Order())
                foreach (int chunk in (ReadOnlySpan<int>)[40, 16, 9])
                    cases.Add(Path.GetFileName(folder), chunk);
            return cases;
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Token_by_token_the_logits_agree_with_the_oracle(string name)
    {
        using var golden = new GoldenCase(name, Root);
        using var backend = new CpuBackend(2);
        var cache = new TestCache(golden.Load(backend), 1, 64);
        GoldenTests.AssertClose(name, golden.Rows("sequential", backend), [.. golden.Prompt.SelectMany(token => cache.Run([token]))]);
        var produced = new List<int>();
        float[] last = golden.Rows("sequential", backend)[^1];
        for (; produced.Count < golden.Greedy.Length; last = cache.Run([produced[^1]])[0])
            produced.Add(GoldenTests.ArgMax(last));
        Assert.Equal(golden.Greedy, produced);
    }

    [Theory, MemberData(nameof(Chunks))]
    public void In_chunks_the_logits_agree_with_the_oracle_pass_for_pass(string name, int chunk)
    {
        using var golden = new GoldenCase(name, Root);
        using var backend = new CpuBackend(2);
        DecoderModel model = golden.Load(backend, KvGrouping.Layer);
        var finished = new int[golden.Config.Layers];
        model.LayerFinished = (layer, _) => finished[layer]++;
        var cache = new TestCache(model, 1, 64, 8);
        GoldenTests.AssertClose($"{name}, chunks of {chunk}", golden.Rows($"chunk.{chunk}", backend), [.. golden.Prompt.Chunk(chunk).SelectMany(part => cache.Run(part))]);
        Assert.Equal(Passes(name, chunk), Enumerable.Range(0, finished.Length).Where(layer => model.Layout.LoopEnd(layer) >= 0).Sum(layer => finished[layer]));
    }

    /// <summary>Passes over all cycles of all chunks that the oracle took.</summary>
    private static int Passes(string name, int chunk)
    {
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Root, name, "golden.json")));
        return facts.RootElement.GetProperty("passes").GetProperty($"{chunk}").EnumerateArray().Sum(loop => loop[2].GetInt32());
    }
}
