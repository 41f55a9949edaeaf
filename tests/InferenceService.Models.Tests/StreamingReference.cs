using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Models.Tests;

/// <summary>
/// StreamingLLM (arXiv:2309.17453, section 3.2) to the letter, in double: keys are kept unrotated and rotated anew for every token, at
/// their index in the cache. A plain Llama, one token at a time.
/// </summary>
internal sealed class StreamingReference(ModelConfig config, IWeightSource weights, int sinks, int recent)
{
    private readonly List<double[]>[] _keys = [.. Enumerable.Range(0, config.Layers).Select(_ => new List<double[]>())];
    private readonly List<double[]>[] _values = [.. Enumerable.Range(0, config.Layers).Select(_ => new List<double[]>())];

    /// <summary>Logits after one more token.</summary>
    public double[] Feed(int token)
    {
        double[] x = Rows("model.embed_tokens.weight")[token];
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string name = $"model.layers.{layer}.";
            double[] normed = Norm(x, name + "input_layernorm.weight");
            double[] attended = Attend(
                layer, Times(name + "self_attn.q_proj.weight", normed), Times(name + "self_attn.k_proj.weight", normed),
                Times(name + "self_attn.v_proj.weight", normed));
            x = Sum(x, Times(name + "self_attn.o_proj.weight", attended));
            normed = Norm(x, name + "post_attention_layernorm.weight");
            double[] gate = Times(name + "mlp.gate_proj.weight", normed), up = Times(name + "mlp.up_proj.weight", normed);
            x = Sum(x, Times(name + "mlp.down_proj.weight", [.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)]));
        }

        return Times("lm_head.weight", Norm(x, "model.norm.weight"));
    }

    private double[] Attend(int layer, double[] q, double[] k, double[] v)
    {
        (List<double[]> keys, List<double[]> values) = (_keys[layer], _values[layer]);
        keys.Add(k);
        values.Add(v);
        int headDim = config.HeadDim, group = config.Heads / config.KvHeads;
        var output = new double[q.Length];
        for (int head = 0; head < config.Heads; head++)
        {
            double[] query = Rotate(q.AsSpan(head * headDim, headDim), keys.Count - 1);
            double[] scores = [.. keys.Select((key, index) => Rotate(key.AsSpan(head / group * headDim, headDim), index)
                .Zip(query, (a, b) => a * b).Sum() / Math.Sqrt(headDim))];
            double top = scores.Max(), sum = scores.Sum(score => Math.Exp(score - top));
            for (int slot = 0; slot < keys.Count; slot++)
                for (int d = 0; d < headDim; d++)
                    output[head * headDim + d] += Math.Exp(scores[slot] - top) / sum * values[slot][head / group * headDim + d];
        }

        if (keys.Count > sinks + recent)
        {
            keys.RemoveAt(sinks);
            values.RemoveAt(sinks);
        }

        return output;
    }

    private double[] Rotate(ReadOnlySpan<double> x, int position)
    {
        int half = config.Rope.RotaryDim / 2;
        double[] rotated = x.ToArray();
        for (int i = 0; i < half; i++)
        {
            (double sine, double cosine) = Math.SinCos(position * Math.Pow(config.Rope.Theta, -(double)i / half));
            rotated[i] = x[i] * cosine - x[half + i] * sine;
            rotated[half + i] = x[half + i] * cosine + x[i] * sine;
        }

        return rotated;
    }

    private double[] Norm(double[] x, string weight)
    {
        double factor = 1 / Math.Sqrt(x.Sum(value => value * value) / x.Length + config.RmsNormEpsilon);
        return [.. x.Zip(Rows(weight)[0], (value, w) => value * factor * w)];
    }

    private double[] Times(string weight, double[] x) => [.. Rows(weight).Select(row => row.Zip(x, (a, b) => a * b).Sum())];

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private double[][] Rows(string name)
    {
        Assert.True(weights.TryGet(name, out Tensor stored), name);
        ReadOnlySpan<float> all = MemoryMarshal.Cast<byte, float>(((HostBuffer)stored.Buffer).Slice(stored.Offset, (int)stored.ByteLength));
        return [.. all.ToArray().Chunk(stored.Columns).Select(row => Array.ConvertAll(row, value => (double)value))];
    }
}
