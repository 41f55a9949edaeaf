namespace InferenceService.Compute.Tests;

/// <summary>What a backend must do that promises bit-identical results: a row depends on nothing but itself.</summary>
public abstract class BatchInvarianceContract(IBackend backend) : IDisposable
{
    public void Dispose()
    {
        backend.Dispose();
        GC.SuppressFinalize(this);
    }

    [ContractFact]
    public void A_row_of_a_product_has_the_same_bits_alone_and_in_any_batch() => Property.Check(15, random =>
    {
        int rows = random.Next(2, 90), inputs = random.Next(1, 1300), outputs = random.Next(1, 100);
        Matrix x = Matrix.Random(random, DType.F32, rows, inputs);
        Tensor weight = Matrix.Random(random, (DType)random.Next(3), outputs, inputs).On(backend);
        float[] all = Product(x, weight);
        for (int trial = 0; trial < 6; trial++)
        {
            int start = random.Next(rows), count = random.Next(1, rows - start + 1);
            Tolerance.AssertSame(
                all.AsSpan(start * outputs, count * outputs), Product(x.RowRange(start, count), weight), $"rows {start}+{count} of {rows}");
        }

        int column = random.Next(outputs);
        float[] one = Product(x, weight.RowRange(column, 1));
        Assert.Equal(Enumerable.Range(0, rows).Select(r => all[r * outputs + column]), one);
    });

    [ContractFact]
    public void A_row_of_the_other_verbs_has_the_same_bits_alone_and_in_a_batch() => Property.Check(10, random =>
    {
        int rows = random.Next(2, 60), n = 2 * random.Next(1, 200), row = random.Next(rows);
        Matrix x = Matrix.Random(random, DType.F32, rows, n), up = Matrix.Random(random, DType.F32, rows, n), angles = Matrix.Random(random, DType.F32, rows, n);
        Tensor weight = Matrix.Random(random, DType.BF16, 1, n).On(backend);
        Same((input, _, output) => backend.RmsNorm(input, weight, 1e-5f, output), up);
        Same((input, other, output) => backend.SiluMultiply(input, other, output), up);
        Same(
            (input, other, output) =>
            {
                backend.SiluMultiply(input, input, output);
                backend.Rope(output, other, n);
            },
            angles);

        void Same(Action<Tensor, Tensor, Tensor> verb, Matrix other)
        {
            Matrix many = Matrix.Blank(rows, n), single = Matrix.Blank(1, n);
            Tensor batch = many.On(backend), alone = single.On(backend);
            verb(x.On(backend), other.On(backend), batch);
            verb(x.RowRange(row, 1).On(backend), other.RowRange(row, 1).On(backend), alone);
            Tolerance.AssertSame(many.From(backend, batch).AsSpan(row * n, n), single.From(backend, alone), $"row {row} of {rows}");
        }
    });

    [ContractFact]
    public void Attention_has_the_same_bits_in_one_step_and_in_chunks() => Property.Check(25, random =>
        AssertChunks(random, KvCase.Random(random, new KvCase.Limits(Sequences: 3, Slots: 200, Rows: 40))));

    [ContractFact]
    public void Attention_over_long_contexts_has_the_same_bits_in_one_step_and_in_chunks() => Property.Check(3, random =>
        AssertChunks(random, KvCase.Random(random, new KvCase.Limits(Sequences: 2, Slots: 1500, Rows: 130) { BlockSizes = [16, 32], HeadDims = [16, 64] })));

    [ContractFact]
    public void Attention_under_windows_has_the_same_bits_in_one_step_and_in_chunks() => Property.Check(4, random => AssertChunks(
        random, KvCase.Random(random, new KvCase.Limits(Sequences: 2, Slots: 1500, Rows: 130) { BlockSizes = [16, 32], HeadDims = [16, 64], Windowed = true })));

    [ContractFact]
    public void Attention_over_packed_blocks_has_the_same_bits_in_one_step_and_in_chunks() => Property.Check(10, random =>
    {
        int seed = random.Next();
        KvCase Case() => KvCase.Random(
            new Random(seed), new KvCase.Limits(Sequences: 3, Slots: 700, Rows: 60) { BlockSizes = [32, 64], HeadDims = [16, 64, 80], PackedBits = [4, 8] });
        AssertChunks(random, Case(), Case()); // a run tells its case what packing has made of it
    });

    /// <summary>All rows in one step against the same rows in chunks of 1, 7, 16 or any size, sequences coming and going.</summary>
    private void AssertChunks(Random random, KvCase kvCase, KvCase? twin = null)
    {
        var whole = new KvRun(kvCase, backend);
        float[][] expected = whole.All(observe: true);
        var chunked = new KvRun(twin ?? kvCase, backend);
        int[] done = new int[kvCase.Sequences.Length];
        while (true)
        {
            var parts = new List<(int Sequence, int Start, int Count)>();
            for (int s = 0; s < done.Length; s++)
            {
                int left = kvCase.Sequences[s].Rows - done[s], chunk = new[] { 1, 7, 16, random.Next(1, 64) }[random.Next(4)];
                if (random.Next(4) > 0)
                    parts.Add((s, done[s], Math.Min(left, chunk))); // empty once the sequence is through: padding
            }

            if (parts.All(part => part.Count == 0))
            {
                if (done.Zip(kvCase.Sequences, (d, s) => d == s.Rows).All(finished => finished))
                    break;
                continue;
            }

            (int, int, int)[] order = [.. parts];
            random.Shuffle(order);
            float[][] outputs = chunked.Step(observe: true, order);
            for (int i = 0; i < order.Length; i++)
            {
                (int s, int start, int count) = order[i];
                int width = kvCase.Sequences[s].Q.Columns;
                Tolerance.AssertSame(expected[s].AsSpan(start * width, count * width), outputs[i], $"sequence {s}, rows {start}+{count}");
                done[s] += count;
            }
        }

        for (int s = 0; s < done.Length; s++)
        {
            for (int head = 0; head < kvCase.KvHeads; head++)
            {
                Tolerance.AssertSame(whole.Sums(s, head), chunked.Sums(s, head), $"sums of sequence {s}, head {head}");
                Tolerance.AssertSame(whole.Bands(s, head), chunked.Bands(s, head), $"band of sequence {s}, head {head}");
                Tolerance.AssertSame([whole.Range(s, head)], [chunked.Range(s, head)], $"range of sequence {s}, head {head}");
            }
        }
    }

    private float[] Product(Matrix x, Tensor weight)
    {
        Matrix blank = Matrix.Blank(x.Rows, weight.Rows);
        Tensor output = blank.On(backend);
        backend.MatMul(x.On(backend), weight, output);
        return blank.From(backend, output);
    }
}
