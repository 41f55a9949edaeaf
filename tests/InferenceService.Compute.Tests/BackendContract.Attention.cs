namespace InferenceService.Compute.Tests;

public abstract partial class BackendContract
{
    [ContractFact]
    public void Paged_attention_equals_dense() => Property.Check(40, random => AssertDense(KvCase.Random(random, Small)));

    [ContractFact]
    public void Paged_attention_equals_dense_over_long_contexts() => Property.Check(4, random =>
        AssertDense(KvCase.Random(random, new KvCase.Limits(Sequences: 2, Slots: 1600, Rows: 3) { BlockSizes = [16, 32], HeadDims = [8, 64] })));

    [ContractFact]
    public void Paged_attention_equals_dense_over_long_prompts() => Property.Check(3, random =>
        AssertDense(KvCase.Random(random, new KvCase.Limits(Sequences: 2, Slots: 700, Rows: 150) { BlockSizes = [16, 32], HeadDims = [8, 32] })));

    [ContractFact]
    public void Paged_attention_equals_dense_for_many_short_sequences() => Property.Check(4, random =>
        AssertDense(KvCase.Random(random, new KvCase.Limits(Sequences: 30, Slots: 20, Rows: 2))));

    [ContractFact]
    public void A_row_that_sees_nothing_gives_zeros() => Property.Check(40, random =>
    {
        KvCase kvCase = KvCase.Random(random, new KvCase.Limits(Sequences: 2, Slots: 1, Rows: 2)); // empty caches
        float[][] rows = new KvRun(kvCase, backend).All(observe: true);
        if (kvCase.ExcludeSelf)
            Assert.All(rows, output => Assert.All(output.AsSpan(0, kvCase.Sequences[0].Q.Columns).ToArray(), value => Assert.Equal(0, value)));
        else
            Assert.All(rows, output => Assert.All(output, value => Assert.True(float.IsFinite(value))));
    });

    [ContractFact]
    public void A_sequence_that_is_not_observed_adds_nothing_to_the_sums() => Property.Check(5, random =>
    {
        KvCase kvCase = KvCase.Random(random, Small);
        var run = new KvRun(kvCase, backend);
        run.All(observe: false);
        for (int s = 0; s < kvCase.Sequences.Length; s++)
            Assert.All(run.Sums(s, 0), value => Assert.Equal(0, value));
    });

    private void AssertDense(KvCase kvCase)
    {
        var run = new KvRun(kvCase, backend);
        float[][] rows = run.All(observe: true);
        for (int s = 0; s < rows.Length; s++)
        {
            (float[] output, double[][] columns) = kvCase.Dense(s);
            tolerance.AssertClose(output, rows[s], $"sequence {s} of {kvCase.Format}, group {kvCase.Group}, window {kvCase.Window}");
            for (int head = 0; head < columns.Length; head++)
            {
                float[] sums = run.Sums(s, head);
                tolerance.AssertClose(columns[head].Select(sum => (float)sum).ToArray(), sums.AsSpan(0, columns[head].Length), $"sums of sequence {s}, head {head}");
                Assert.All(sums.Skip(columns[head].Length), value => Assert.Equal(0, value));
            }
        }
    }
}
