using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Sampling;

/// <summary>The sampling section of the API, step by step in double precision with full sorts and plain loops.</summary>
internal static class SamplerOracle
{
    /// <summary>Logits after masks, bias and penalties.</summary>
    public static double[] Process(float[] raw, GenerationRequest request, int[] generated, int[] eos)
    {
        SamplingParams p = request.Sampling;
        double[] x = [.. raw.Select(value => (double)value)];
        if (!p.AllowedTokenIds.IsDefault)
            x = [.. x.Select((value, id) => p.AllowedTokenIds.Contains(id) ? value : double.NegativeInfinity)];
        foreach (int[] word in p.BadWords.Select(word => word.ToArray()))
            if (generated.Length >= word.Length - 1 && generated.TakeLast(word.Length - 1).SequenceEqual(word.SkipLast(1)))
                x[word[^1]] = double.NegativeInfinity;
        if (generated.Length < p.MinTokens)
            foreach (int id in request.IgnoreEos ? request.StopTokenIds.ToArray() : [.. eos, .. request.StopTokenIds])
                x[id] = double.NegativeInfinity;
        foreach (LogitBias bias in p.LogitBias)
            x[bias.TokenId] += bias.Bias;
        foreach (int id in request.PromptTokens.ToArray().Concat(generated).Distinct())
            x[id] = x[id] > 0 ? x[id] / p.RepetitionPenalty : x[id] * p.RepetitionPenalty;
        foreach (int id in generated)
            x[id] -= p.FrequencyPenalty;
        foreach (int id in generated.Distinct())
            x[id] -= p.PresencePenalty;
        return x;
    }

    /// <summary>Tokens that may be drawn, with probabilities that add up to 1.</summary>
    public static Dictionary<int, double> Distribution(double[] processed, SamplingParams p)
    {
        double temperature = Math.Max(p.Temperature, 0.01);
        List<(int Id, double Score)> left = [.. processed.Select((value, id) => (id, value / temperature)).Where(entry => !double.IsNegativeInfinity(entry.Item2))];
        double max = left.Max(entry => entry.Score);
        left = [.. left.Where(entry => Math.Exp(entry.Score - max) >= p.MinP).OrderByDescending(entry => entry.Score).ThenBy(entry => entry.Id)];
        if (p.TopK > 0)
            left = [.. left.Take(p.TopK)];
        double total = left.Sum(entry => Math.Exp(entry.Score - max)), mass = 0;
        var kept = new List<(int Id, double Score)>();
        foreach ((int Id, double Score) entry in left)
        {
            if (mass >= p.TopP * total && p.TopP < 1)
                break;
            kept.Add(entry);
            mass += Math.Exp(entry.Score - max);
        }

        return kept.ToDictionary(entry => entry.Id, entry => Math.Exp(entry.Score - max) / mass);
    }

    /// <summary>The token: argmax, or Gumbel-max over the distribution.</summary>
    public static int Choose(double[] processed, SamplingParams p, long seed, int position)
    {
        if (p.Temperature == 0)
            return Array.IndexOf(processed, processed.Max());
        return Distribution(processed, p)
            .OrderByDescending(entry => Math.Log(entry.Value) + Gumbel.Noise(Philox.Word((ulong)seed, position, entry.Key))).First().Key;
    }
}
