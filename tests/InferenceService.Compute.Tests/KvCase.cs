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
        Format = Format with { PackedBits = Pick(random, limits.PackedBits) };
        Layers = random.Next(1, 4);
        Layer = random.Next(Layers);
        Grouping = random.Next(3);
        Format = Format with { Lanes = Grouping switch { 0 => Layers * KvHeads, 1 => KvHeads, _ => 1 } };
        Window = !limits.NoWindows && random.Next(3) == 0 ? random.Next(1, 2 * limits.Slots) : 0;
        ExcludeSelf = random.Next(4) == 0;
        HasSinkQueries = random.Next(2) == 0;
        Scale = 1 / MathF.Sqrt(Format.HeadDim);
        Sequences = new KvSequence[random.Next(1, limits.Sequences + 1)];
        _keys = new float[Sequences.Length][][];
        _values = new float[Sequences.Length][][];
        for (int s = 0; s < Sequences.Length; s++)
            (Sequences[s], _keys[s], _values[s]) = Fill(random, limits);
        Tables = ShuffleBlocks(random, out int blocks);
        Packs = Format.PackedBits == 0 ? [] : PackSome(random, ref blocks);
        Blocks = blocks;
    }

    /// <summary>Bounds of a random case.</summary>
    public sealed record Limits(int Sequences, int Slots, int Rows)
    {
        public int[] BlockSizes { get; init; } = [1, 3, 4, 16, 16, 32];

        public int[] PackedBits { get; init; } = [0];

        public int[] HeadDims { get; init; } = [2, 6, 16, 20, 64, 80, 128];

        /// <summary>Every group has a window, a small one.</summary>
        public bool Windowed { get; init; }

        public bool NoWindows { get; init; }

        public int FewestRows { get; init; } = 1;
    }

    /// <summary>One sequence: for each group of the cache length, gap, sinks and window; the rows to add; what is observed of them.</summary>
    public sealed record KvSequence(
        int Rows, int[] Lengths, int[] GapStarts, int[] GapLengths, int[] Sinks, int[] Windows, Matrix Q, Matrix SinkQ, Matrix K, Matrix V, Watched Watched);

    /// <summary>What a sequence wants observed.</summary>
    public sealed record Watched(AttentionSums Sums, int FirstSlot, int Band, int SinkEnd, int RecentStart)
    {
        /// <summary>As in <see cref="AttentionProbe.Observed"/>.</summary>
        public int[] Fields => [(int)Sums, FirstSlot, Band, SinkEnd, RecentStart];
    }

    /// <summary>Sums of one KV head, one of each kind.</summary>
    public sealed record HeadSums(double[] Columns, double[] Band)
    {
        public double Range { get; set; }

        /// <summary>The same of each query head.</summary>
        public HeadSums[] Each { get; init; } = [];
    }

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

    /// <summary>Sinks are met by queries of their own.</summary>
    public bool HasSinkQueries { get; }

    public float Scale { get; }

    public KvSequence[] Sequences { get; private set; }

    public int Blocks { get; }

    /// <summary>Blocks that are packed before the rows are added: each names a table's entry, which is the child already.</summary>
    public List<(int Sequence, int Group, int Index, BlockPack Pack)> Packs { get; }

    /// <summary>[sequence][group]: table entries, long enough for all rows.</summary>
    public int[][][] Tables { get; }

    public int Groups => Grouping switch { 0 => 1, 1 => Layers, _ => Layers * KvHeads };

    public static KvCase Random(Random random, Limits limits) => new(random, limits);

    /// <summary>One sequence without windows whose rows are all of its slots.</summary>
    public static KvCase Prompt(Random random, int slots, Func<KvSequence, KvSequence> change)
    {
        while (true)
        {
            KvCase kvCase = Random(random, new Limits(Sequences: 1, Slots: 1, Rows: slots) { FewestRows = slots, NoWindows = true, HeadDims = [8, 20] });
            if (!kvCase.ExcludeSelf)
                return kvCase.With(change);
        }
    }

    /// <summary>The same numbers, each sequence changed.</summary>
    public KvCase With(Func<KvSequence, KvSequence> change)
    {
        var copy = (KvCase)MemberwiseClone();
        copy.Sequences = [.. Sequences.Select(change)];
        return copy;
    }

    public int GroupOf(int head) => Grouping switch { 0 => 0, 1 => Layer, _ => Layer * KvHeads + head };

    public int LaneOf(int head) => Grouping switch { 0 => Layer * KvHeads + head, 1 => head, _ => 0 };

    /// <summary>The key (or value) that a live slot holds before the rows are added.</summary>
    public ReadOnlySpan<float> Stored(int sequence, int head, int slot, bool value) =>
        (value ? _values : _keys)[sequence][head].AsSpan(slot * Format.HeadDim, Format.HeadDim);

    /// <summary>From now on a live slot holds something else: what packing has made of it.</summary>
    public void Replace(int sequence, int head, int slot, int channel, bool value, float held) =>
        (value ? _values : _keys)[sequence][head][slot * Format.HeadDim + channel] = held;

    public bool IsDead(int sequence, int head, int slot)
    {
        KvSequence s = Sequences[sequence];
        int group = GroupOf(head);
        return slot >= s.GapStarts[group] && slot < s.GapStarts[group] + s.GapLengths[group];
    }

    /// <summary>The slot's block is packed before the rows are added, so all its slots are live.</summary>
    public bool IsPacked(int sequence, int head, int slot) => Tables[sequence][GroupOf(head)][slot / Format.BlockSize] < 0;

    /// <summary>The row at slot <paramref name="own"/> sees <paramref name="slot"/>.</summary>
    public bool Sees(int sequence, int head, int own, int slot)
    {
        KvSequence s = Sequences[sequence];
        int group = GroupOf(head), window = s.Windows[group];
        return slot <= own && !(slot == own && ExcludeSelf) && !IsDead(sequence, head, slot)
            && (Window == 0 || slot > own - Window) && (window == 0 || slot < s.Sinks[group] || slot > own - window);
    }

    /// <summary>The attention output of a sequence's rows, computed without blocks, in double; and all sums, wanted or not, per KV head.</summary>
    public (float[] Output, HeadSums[] Sums) Dense(int sequence)
    {
        KvSequence s = Sequences[sequence];
        float[] output = new float[s.Rows * s.Q.Columns];
        var sums = new HeadSums[KvHeads];
        for (int head = 0; head < KvHeads; head++)
        {
            int length = s.Lengths[GroupOf(head)];
            HeadSums None() => new(new double[length + s.Rows], new double[length + s.Rows]);
            sums[head] = None() with { Each = [.. Enumerable.Range(0, Group).Select(_ => None())] };
            for (int row = 0; row < s.Rows; row++)
            {
                for (int g = 0; g < Group; g++)
                    DenseRow(sequence, head, row, (head * Group + g) * Format.HeadDim, output, sums[head], sums[head].Each[g]);
            }
        }

        return (output, sums);
    }

    private void DenseRow(int sequence, int head, int row, int column, float[] outputs, HeadSums sums, HeadSums alone)
    {
        KvSequence s = Sequences[sequence];
        int group = GroupOf(head), own = s.Lengths[group] + row;
        var weights = new Dictionary<int, double>();
        for (int slot = 0; slot <= own; slot++)
        {
            if (!Sees(sequence, head, own, slot))
                continue;
            bool sink = HasSinkQueries && s.Windows[group] > 0 && slot < s.Sinks[group];
            ReadOnlySpan<float> q = (sink ? s.SinkQ : s.Q).Row(row).Slice(column, Format.HeadDim), key = Stored(sequence, head, slot, value: false);
            double score = 0;
            for (int d = 0; d < q.Length; d++)
                score += (double)q[d] * key[d];
            weights[slot] = score * Scale;
        }

        if (weights.Count == 0)
            return;
        double max = weights.Values.Max(), sum = weights.Values.Sum(score => Math.Exp(score - max));
        Span<float> output = outputs.AsSpan(row * s.Q.Columns + column, Format.HeadDim);
        double[] total = new double[output.Length];
        foreach ((int slot, double score) in weights)
        {
            double weight = Math.Exp(score - max) / sum;
            Watch(s.Watched, sums, own, slot, weight / Group);
            Watch(s.Watched, alone, own, slot, weight);
            for (int d = 0; d < output.Length; d++)
                total[d] += weight * Stored(sequence, head, slot, value: true)[d];
        }

        for (int d = 0; d < output.Length; d++)
            output[d] = (float)total[d];
    }

    private static void Watch(Watched watched, HeadSums sums, int own, int slot, double weight)
    {
        if (own < watched.FirstSlot)
            return;
        sums.Columns[slot] += weight;
        if (own - slot < watched.Band)
            sums.Band[slot] += weight;
        if (slot < watched.SinkEnd || slot >= watched.RecentStart)
            sums.Range += weight;
    }

    private (KvSequence, float[][] Keys, float[][] Values) Fill(Random random, Limits limits)
    {
        int rows = random.Next(limits.FewestRows, limits.Rows + 1), headDim = Format.HeadDim;
        int[] lengths = new int[Groups], starts = new int[Groups], gaps = new int[Groups];
        int[] sinks = new int[Groups], windows = new int[Groups];
        for (int g = 0; g < Groups; g++)
        {
            lengths[g] = random.Next(4) == 0 ? 0 : random.Next(limits.Slots);
            starts[g] = random.Next(lengths[g] + 1);
            gaps[g] = random.Next(2) == 0 ? 0 : random.Next(lengths[g] - starts[g] + 1);
            sinks[g] = Pick(random, 0, 1, 4, 4, random.Next(100));
            windows[g] = Pick(random, 0, 1, 2, random.Next(1, 100), random.Next(1, 2 * limits.Slots + 2));
            if (limits.NoWindows)
                windows[g] = 0;
            if (limits.Windowed)
                (sinks[g], windows[g]) = (random.Next(9), random.Next(1, 80));
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
        Matrix sinkQ = Matrix.Random(random, DType.F32, rows, q.Columns, width: 2);
        int slots = lengths.Max() + rows;
        var watched = new Watched(
            (AttentionSums)random.Next(16), random.Next(2) == 0 ? 0 : random.Next(slots), random.Next(slots + 2), random.Next(10), random.Next(slots + 2));
        return (
            new KvSequence(rows, lengths, starts, gaps, sinks, windows, q, sinkQ, k with { Type = DType.F32 }, v with { Type = DType.F32 }, watched),
            keys, values);
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

    /// <summary>Whole live blocks become children, most of them; the other blocks stay full.</summary>
    private List<(int Sequence, int Group, int Index, BlockPack Pack)> PackSome(Random random, ref int blocks)
    {
        var packs = new List<(int Sequence, int Group, int Index, BlockPack Pack)>();
        for (int s = 0; s < Sequences.Length; s++)
        {
            for (int g = 0; g < Groups; g++)
            {
                int gapStart = Sequences[s].GapStarts[g], gapEnd = gapStart + Sequences[s].GapLengths[g];
                for (int index = 0; (index + 1) * Format.BlockSize <= Sequences[s].Lengths[g]; index++)
                {
                    bool live = gapEnd <= index * Format.BlockSize || gapStart >= (index + 1) * Format.BlockSize || gapStart == gapEnd;
                    if (live && random.Next(4) > 0)
                        packs.Add((s, g, index, new BlockPack(Tables[s][g][index], packs.Count)));
                }
            }
        }

        int each = Format.ChildrenPerBlock, parents = packs.Count / each + 2;
        int[] children = [.. Enumerable.Range(blocks * each, parents * each)];
        random.Shuffle(children);
        blocks += parents;
        for (int i = 0; i < packs.Count; i++)
        {
            (int s, int g, int index, BlockPack pack) = packs[i];
            packs[i] = (s, g, index, pack with { Child = children[i] });
            Tables[s][g][index] = ~children[i];
        }

        return packs;
    }

    private static T Pick<T>(Random random, params T[] choices) => choices[random.Next(choices.Length)];
}
