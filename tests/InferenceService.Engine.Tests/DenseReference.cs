using System.Globalization;
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>A Llama forward pass in double precision over a whole text, dense, with any attention mask: no cache, no blocks, no shared code.</summary>
internal sealed class DenseReference
{
    private readonly TinyModel _model;
    private readonly ModelConfig _config;
    private readonly int _tokens;

    /// <summary>May query i of (layer, KV head) see key j? Causality is added.</summary>
    public delegate bool Mask(int layer, int head, int query, int key);

    public DenseReference(TinyModel model, ReadOnlySpan<int> tokens, Mask mask)
    {
        (_model, _config, _tokens) = (model, model.Config, tokens.Length);
        ColumnSums = new double[_config.Layers * _config.KvHeads][];
        double[][] embedding = Weight("model.embed_tokens.weight");
        double[][] x = [.. tokens.ToArray().Select(token => (double[])embedding[token].Clone())];
        for (int layer = 0; layer < _config.Layers; layer++)
            Layer(x, layer, mask);
        double[] norm = Weight("model.norm.weight")[0];
        double[][] head = _config.TiedEmbeddings ? embedding : Weight("lm_head.weight");
        Logits = [.. x.Select(row => Multiply(Norm(row, norm), head))];
    }

    /// <summary>[tokens][vocabulary].</summary>
    public double[][] Logits { get; }

    /// <summary>[layers × KV heads][tokens]: attention received by each position, mean over the query heads, summed over queries.</summary>
    public double[][] ColumnSums { get; }

    /// <summary>Log-probability of a token after a position.</summary>
    public double Logprob(int position, int token)
    {
        double max = Logits[position].Max();
        return Logits[position][token] - max - Math.Log(Logits[position].Sum(logit => Math.Exp(logit - max)));
    }

    private void Layer(double[][] x, int layer, Mask mask)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
        double[][] normed = [.. x.Select(row => Norm(row, Weight(name + "input_layernorm.weight")[0]))];
        double[][] q = Rotate(Project(normed, name + "self_attn.q_proj.weight"));
        double[][] k = Rotate(Project(normed, name + "self_attn.k_proj.weight"));
        double[][] v = Project(normed, name + "self_attn.v_proj.weight");
        AddTo(x, Project(Attend(q, k, v, layer, mask), name + "self_attn.o_proj.weight"));

        normed = [.. x.Select(row => Norm(row, Weight(name + "post_attention_layernorm.weight")[0]))];
        double[][] gate = Project(normed, name + "mlp.gate_proj.weight"), up = Project(normed, name + "mlp.up_proj.weight");
        double[][] hidden = [.. gate.Select((row, i) => row.Select((g, c) => g / (1 + Math.Exp(-g)) * up[i][c]).ToArray())];
        AddTo(x, Project(hidden, name + "mlp.down_proj.weight"));
    }

    private double[][] Attend(double[][] q, double[][] k, double[][] v, int layer, Mask mask)
    {
        int size = _config.HeadDim, group = _config.Heads / _config.KvHeads;
        double[][] output = [.. q.Select(row => new double[row.Length])];
        for (int head = 0; head < _config.Heads; head++)
        {
            int kvHead = head / group;
            double[] sums = ColumnSums[layer * _config.KvHeads + kvHead] ??= new double[_tokens];
            for (int i = 0; i < _tokens; i++)
            {
                int[] seen = [.. Enumerable.Range(0, i + 1).Where(j => j == i || mask(layer, kvHead, i, j))];
                double[] scores = [.. seen.Select(j => Enumerable.Range(0, size).Sum(c => q[i][head * size + c] * k[j][kvHead * size + c]) / Math.Sqrt(size))];
                double max = scores.Max(), total = scores.Sum(score => Math.Exp(score - max));
                for (int s = 0; s < seen.Length; s++)
                {
                    double weight = Math.Exp(scores[s] - max) / total;
                    sums[seen[s]] += weight / group;
                    for (int c = 0; c < size; c++)
                        output[i][head * size + c] += weight * v[seen[s]][kvHead * size + c];
                }
            }
        }

        return output;
    }

    private double[][] Rotate(double[][] rows)
    {
        int size = _config.HeadDim, half = size / 2;
        for (int position = 0; position < rows.Length; position++)
        {
            for (int start = 0; start < rows[position].Length; start += size)
            {
                for (int i = 0; i < half; i++)
                {
                    double angle = position * Math.Pow(_config.Rope.Theta, -2.0 * i / size);
                    (double a, double b) = (rows[position][start + i], rows[position][start + half + i]);
                    rows[position][start + i] = a * Math.Cos(angle) - b * Math.Sin(angle);
                    rows[position][start + half + i] = b * Math.Cos(angle) + a * Math.Sin(angle);
                }
            }
        }

        return rows;
    }

    private double[] Norm(double[] row, double[] weight)
    {
        double factor = 1 / Math.Sqrt(row.Sum(value => value * value) / row.Length + _config.RmsNormEpsilon);
        return [.. row.Select((value, c) => value * factor * weight[c])];
    }

    private double[][] Project(double[][] rows, string name)
    {
        double[][] weight = Weight(name);
        return [.. rows.Select(row => Multiply(row, weight))];
    }

    private static double[] Multiply(double[] row, double[][] weight) => [.. weight.Select(w => w.Zip(row, (a, b) => a * b).Sum())];

    private static void AddTo(double[][] x, double[][] delta)
    {
        for (int i = 0; i < x.Length; i++)
            for (int c = 0; c < x[i].Length; c++)
                x[i][c] += delta[i][c];
    }

    private double[][] Weight(string name)
    {
        Assert.True(_model.Weights.TryGet(name, out Tensor weight), name);
        float[] values = new float[weight.Rows * weight.Columns];
        _model.Backend.Download(weight, MemoryMarshal.AsBytes(values.AsSpan()));
        return [.. values.Chunk(weight.Columns).Select(row => row.Select(value => (double)value).ToArray())];
    }
}
