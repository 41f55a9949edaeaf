namespace InferenceService.Compute.Tests;

/// <summary>A random cache of one layer and the rows of some sequences that are to be added, with the answer computed densely.</summary>
internal sealed class KvCase
{
    private readonly float[][][] _keys, _values; // [sequence][kvHead][slot × headDim]

    private KvCase(Random random, Limits limits)
    {
        Format = new KvBlockFormat(
            Pick(random, DType.F32, DType.F16, DType.BF16), Pick(random, limits.BlockSizes), Pick(random, limits.HeadDims), 1);
        KvHeads = random.Next(1, 4);
        Group = Pick(random, 1, 1, 2, 3, 4, 7, 8);
        Layers = random.Next(1, 4);
        Layer = random.Next(Layers);
        Grouping = random.Next(3);
        Format = Format with { Lanes = Grouping switch { 0 => Layers * KvHeads, 1 => KvHeads, _ => 1 } };
        Window = random.Next(3) == 0 ? random.Next(1, 2 * limits.Slots) : 0;
        ExcludeSelf = random.Next(4) == 0;
        Scale = 1 / MathF.Sqrt(Format.HeadDim);
        Sequences = new KvSequence[random.Next(1, limits.Sequences + 1)];
        _keys = new float[Sequences.Length][][];
        _values = new float[Sequences.Length][][];
        for (int s = 0; s < Sequences.Length; s++)
            (Sequences[s], _keys[s], _values[s]) = Fill(random, limits);
        Tables = ShuffleBlocks(random, out int blocks);
        Blocks = blocks;
    }

    /// <summary>Bounds of a random case.</summary>
    public sealed record Limits(int Sequences, int Slots, int Rows)
    {
        public int[] BlockSizes { get; init; } = [1, 3, 4, 16, 16, 32];

        public int[] HeadDims { get; init; } = [2, 6, 16, 20, 64, 80, 128];
    }

    /// <summary>One sequence: for each group of the cache length and gap, then the rows to add.</summary>
    public sealed record KvSequence(int Rows, int[] Lengths, int[] GapStarts, int[] GapLengths, Matrix Q, Matrix K, Matrix V);

    public KvBlockFormat Format { get; }

    public int KvHeads { get; }

    /// <summary>Query heads of a KV head.</summary>
    public int Group { get; }

    public int Layers { get; }

    /// <summary>The layer whose attention runs.</summary>
    public int Layer { get; }

    /// <summary>Lanes that share tables: 0 all of the model, 1 those of a layer, 2 each its own.</summary>
    public int Grouping { get; }

    public int Window { get; }

    public bool ExcludeSelf { get; }

    public float Scale { get; }

    public KvSequence[] Sequences { get; }

    public int Blocks { get; }

    /// <summary>[sequence][group]: block ids, long enough for all rows.</summary>
    public int[][][] Tables { get; }

    public int Groups => Grouping switch { 0 => 1, 1 => Layers, _ => Layers * KvHeads };

    public static KvCase Random(Random random, Limits limits) => new(random, limits);

    public int GroupOf(int head) => Grouping switch { 0 => 0, 1 => Layer, _ => Layer * KvHeads + head };

    public int LaneOf(int head) => Grouping switch { 0 => Layer * KvHeads + head, 1 => head, _ => 0 };

    /// <summary>The key (or value) that a live slot holds before the rows are added.</summary>
    public ReadOnlySpan<float> Stored(int sequence, int head, int slot, bool value) =>
        (value ? _values : _keys)[sequence][head].AsSpan(slot * Format.HeadDim, Format.HeadDim);

    public bool IsDead(int sequence, int head, int slot)
    {
        KvSequence s = Sequences[sequence];
        int group = GroupOf(head);
        return slot >= s.GapStarts[group] && slot < s.GapStarts[group] + s.GapLengths[group];
    }

    /// <summary>The attention output of a sequence's rows, computed without blocks, in double; and the sums of its columns per KV head.</summary>
    public (float[] Output, double[][] Columns) Dense(int sequence)
    {
        KvSequence s = Sequences[sequence];
        float[] output = new float[s.Rows * s.Q.Columns];
        double[][] columns = new double[KvHeads][];
        for (int head = 0; head < KvHeads; head++)
        {
            int length = s.Lengths[GroupOf(head)];
            columns[head] = new double[length + s.Rows];
            for (int row = 0; row < s.Rows; row++)
            {
                for (int g = 0; g < Group; g++)
                {
                    int at = row * s.Q.Columns + (head * Group + g) * Format.HeadDim;
                    DenseRow(sequence, head, length + row, s.Q.Values.AsSpan(at, Format.HeadDim), output.AsSpan(at, Format.HeadDim), columns[head]);
                }
            }
        }

        return (output, columns);
    }

    private void DenseRow(int sequence, int head, int own, ReadOnlySpan<float> q, Span<float> output, double[] columns)
    {
        var weights = new Dictionary<int, double>();
        for (int slot = 0; slot <= own; slot++)
        {
            if ((slot == own && ExcludeSelf) || (Window > 0 && slot <= own - Window) || IsDead(sequence, head, slot))
                continue;
            double score = 0;
            for (int d = 0; d < q.Length; d++)
                score += (double)q[d] * Stored(sequence, head, slot, value: false)[d];
            weights[slot] = score * Scale;
        }

        if (weights.Count == 0)
            return;
        double max = weights.Values.Max(), sum = weights.Values.Sum(score => Math.Exp(score - max));
        double[] total = new double[output.Length];
        foreach ((int slot, double score) in weights)
        {
            double weight = Math.Exp(score - max) / sum;
            columns[slot] += weight / Group;
            for (int d = 0; d < output.Length; d++)
                total[d] += weight * Stored(sequence, head, slot, value: true)[d];
        }

        for (int d = 0; d < output.Length; d++)
            output[d] = (float)total[d];
    }

    private (KvSequence, float[][] Keys, float[][] Values) Fill(Random random, Limits limits)
    {
        int rows = random.Next(1, limits.Rows + 1), headDim = Format.HeadDim;
        int[] lengths = new int[Groups], starts = new int[Groups], gaps = new int[Groups];
        for (int g = 0; g < Groups; g++)
        {
            lengths[g] = random.Next(4) == 0 ? 0 : random.Next(limits.Slots);
            starts[g] = random.Next(lengths[g] + 1);
            gaps[g] = random.Next(2) == 0 ? 0 : random.Next(lengths[g] - starts[g] + 1);
        }

        Matrix k = Matrix.Random(random, Format.Type, rows, KvHeads * headDim), v = Matrix.Random(random, Format.Type, rows, KvHeads * headDim);
        float[][] keys = new float[KvHeads][], values = new float[KvHeads][];
        for (int head = 0; head < KvHeads; head++)
        {
            int length = lengths[GroupOf(head)];
            keys[head] = Matrix.Random(random, Format.Type, length + rows, headDim).Values;
            values[head] = Matrix.Random(random, Format.Type, length + rows, headDim).Values;
            for (int row = 0; row < rows; row++)
            {
                k.Row(row).Slice(head * headDim, headDim).CopyTo(keys[head].AsSpan((length + row) * headDim));
                v.Row(row).Slice(head * headDim, headDim).CopyTo(values[head].AsSpan((length + row) * headDim));
            }
        }

        Matrix q = Matrix.Random(random, DType.F32, rows, KvHeads * Group * headDim, width: 2);
        return (new KvSequence(rows, lengths, starts, gaps, q, k with { Type = DType.F32 }, v with { Type = DType.F32 }), keys, values);
    }

    private int[][][] ShuffleBlocks(Random random, out int blocks)
    {
        int next = 0;
        int[][][] tables = Sequences.Select(s => s.Lengths.Select(length =>
            Enumerable.Range(0, (length + s.Rows + Format.BlockSize - 1) / Format.BlockSize).Select(_ => next++).ToArray()).ToArray()).ToArray();
        int[] ids = Enumerable.Range(0, next + 3).ToArray();
        random.Shuffle(ids);
        foreach (int[] table in tables.SelectMany(t => t))
        {
            for (int i = 0; i < table.Length; i++)
                table[i] = ids[table[i]];
        }

        blocks = ids.Length;
        return tables;
    }

    private static T Pick<T>(Random random, params T[] choices) => choices[random.Next(choices.Length)];
}
