using System.Text.Json;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Tests;

/// <summary>The embedded model against the float64 decoder of its own training script; see tests/golden/storyteller/README.md.</summary>
public sealed class StorytellerTests
{
    private static readonly JsonElement[] Golden = Load();

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Golden.Length)];

    [Theory, MemberData(nameof(Cases))]
    public void The_embedded_model_computes_its_golden_logits_and_greedy_ids(int index)
    {
        int[] prompt = Ids(index, "prompt_ids"), expected = Ids(index, "greedy_ids");
        using Checkpoint checkpoint = Checkpoint.Open(RepositoryFolder.Path("src/InferenceService.Server/Embedded/storyteller"));
        using var backend = new CpuBackend(2);
        DecoderModel model = DecoderModel.Load(checkpoint.Config, checkpoint, backend,
            KvLayout.Of(checkpoint.Config, KvGrouping.Model), new DecoderLimits(prompt.Length, 1));
        var cache = new TestCache(model, 1, prompt.Length + expected.Length);
        float[] logits = cache.Run(prompt, [prompt.Length - 1])[0];
        AssertTop(index, logits);
        var produced = new List<int> { Array.IndexOf(logits, logits.Max()) };
        while (produced.Count < expected.Length)
        {
            logits = cache.Run([produced[^1]])[0];
            produced.Add(Array.IndexOf(logits, logits.Max()));
        }

        Assert.Equal(expected, produced);
    }

    /// <summary>Prompts and continuations together; longer texts are scored by the benchmark <c>quality</c>, whose bars these are.</summary>
    [Theory]
    [InlineData(WeightFormat.BF16, 0.002)]
    [InlineData(WeightFormat.Int8, 0.005)]
    [InlineData(WeightFormat.Int4, 0.04)]
    public void Rounded_weights_hardly_change_the_perplexity_of_the_golden_texts(WeightFormat format, double bar)
    {
        using Checkpoint checkpoint = Checkpoint.Open(RepositoryFolder.Path("src/InferenceService.Server/Embedded/storyteller"));
        using var backend = new CpuBackend(2);
        double change = Loss(checkpoint, backend, format) - Loss(checkpoint, backend, WeightFormat.Stored);
        Assert.InRange(Math.Exp(change) - 1, -bar, bar);
        Assert.NotEqual(0, change);
    }

    /// <summary>Mean negative log-likelihood of the tokens of all golden texts, each given those before it.</summary>
    private static double Loss(Checkpoint checkpoint, CpuBackend backend, WeightFormat format)
    {
        double loss = 0;
        int scored = 0;
        foreach (int index in Enumerable.Range(0, Golden.Length))
        {
            int[] text = [.. Ids(index, "prompt_ids"), .. Ids(index, "greedy_ids")];
            DecoderModel model = DecoderModel.Load(checkpoint.Config, checkpoint, backend,
                KvLayout.Of(checkpoint.Config, KvGrouping.Model), new DecoderLimits(text.Length, text.Length), format: format);
            float[][] rows = new TestCache(model, 1, text.Length).Run(text);
            for (int i = 0; i + 1 < text.Length; i++, scored++)
            {
                double max = rows[i].Max();
                loss += max + Math.Log(rows[i].Sum(logit => Math.Exp(logit - max))) - rows[i][text[i + 1]];
            }
        }

        return loss / scored;
    }

    private static void AssertTop(int index, float[] logits)
    {
        int[] ids = Ids(index, "top_ids");
        double[] values = [.. Golden[index].GetProperty("top_logits").EnumerateArray().Select(value => value.GetDouble())];
        Assert.Equal(ids, logits.Index().OrderByDescending(entry => entry.Item).Take(ids.Length).Select(entry => entry.Index));
        for (int i = 0; i < ids.Length; i++)
            Assert.Equal(values[i], logits[ids[i]], 1e-4 * values[0]);
        double logSumExp = Math.Log(logits.Sum(logit => Math.Exp(logit)));
        Assert.Equal(Golden[index].GetProperty("log_sum_exp").GetDouble(), logSumExp, 1e-3);
    }

    private static int[] Ids(int index, string field) => [.. Golden[index].GetProperty(field).EnumerateArray().Select(id => id.GetInt32())];

    private static JsonElement[] Load()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(RepositoryFolder.Path("tests/golden/storyteller/golden.json")));
        return [.. document.RootElement.GetProperty("cases").EnumerateArray().Select(entry => entry.Clone())];
    }
}
