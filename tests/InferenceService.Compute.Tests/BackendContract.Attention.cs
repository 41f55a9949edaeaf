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
    public void Paged_attention_equals_dense_under_windows() => Property.Check(6, random =>
        AssertDense(KvCase.Random(random, new KvCase.Limits(Sequences: 3, Slots: 2500, Rows: 40) { BlockSizes = [16, 32], HeadDims = [8, 64], Windowed = true })));

    [ContractFact]
    public void A_window_that_reaches_everything_changes_no_bit() => Property.Check(10, random =>
    {
        KvCase kvCase = KvCase.Random(random, Small), full = kvCase.With(s => s with { Windows = new int[s.Windows.Length] });
        KvCase neutral = kvCase.With(s => s with
        {
            Sinks = [.. s.Lengths.Select(length => random.Next(length + s.Rows + 1))],
            Windows = [.. s.Lengths.Select(length => length + s.Rows)],
            SinkQ = s.Q, // positions are equal as long as nothing has left the window
        });
        KvCase sinksMeetWindow = neutral.With(s => s with { Windows = [.. s.Windows.Zip(s.Sinks, (window, sinks) => Math.Max(1, window - sinks))] });
        KvRun expected = new(full, backend), actual = new(neutral, backend), meeting = new(sinksMeetWindow, backend);
        float[][] rows = expected.All(observe: true), same = actual.All(observe: true), too = meeting.All(observe: true);
        for (int s = 0; s < rows.Length; s++)
        {
            Tolerance.AssertSame(rows[s], same[s], $"sequence {s}");
            Tolerance.AssertSame(rows[s], too[s], $"sequence {s}, sinks and window side by side");
            for (int head = 0; head < kvCase.KvHeads; head++)
            {
                Tolerance.AssertSame(expected.Sums(s, head), actual.Sums(s, head), $"sums of sequence {s}, head {head}");
                Tolerance.AssertSame(expected.Bands(s, head), actual.Bands(s, head), $"band of sequence {s}, head {head}");
                Tolerance.AssertSame([expected.Range(s, head)], [actual.Range(s, head)], $"range of sequence {s}, head {head}");
            }
        }
    });

    [ContractFact]
    public void The_share_of_first_and_recent_slots_is_at_most_one_and_one_when_they_are_all_there_is() => Property.Check(6, random =>
    {
        int sinks = random.Next(1, 9), recent = random.Next(1, 80), last = random.Next(1, 9);
        for (int slots = sinks + recent - 1; slots <= sinks + recent + 1; slots++)
        {
            KvCase kvCase = KvCase.Prompt(random, slots, s => s with
            {
                Watched = new KvCase.Watched(AttentionSums.RangeMass, Math.Max(0, slots - last), 0, sinks, Math.Max(0, slots - recent)),
            });
            var run = new KvRun(kvCase, backend);
            run.All(observe: true);
            for (int head = 0; head < kvCase.KvHeads; head++)
            {
                float share = run.Range(0, head) / Math.Min(last, slots);
                Assert.InRange(share, 0, 1);
                if (slots <= sinks + recent)
                    Assert.Equal(1, share);
            }
        }
    });

    [ContractFact]
    public void Mean_sums_of_a_prompt_are_within_a_millionth() => Property.Check(4, random =>
    {
        int slots = random.Next(60, 200);
        KvCase kvCase = KvCase.Prompt(random, slots, s => s with
        {
            Watched = new KvCase.Watched(
                AttentionSums.Columns | AttentionSums.Band | AttentionSums.RangeMass, 0, random.Next(1, slots), 4, slots - random.Next(slots / 2)),
        });
        var run = new KvRun(kvCase, backend);
        run.All(observe: true);
        (_, KvCase.HeadSums[] sums) = kvCase.Dense(0);
        for (int head = 0; head < kvCase.KvHeads; head++)
        {
            Close(sums[head].Columns, run.Sums(0, head));
            Close(sums[head].Band, run.Bands(0, head));
            Close([sums[head].Range], [run.Range(0, head)]);
        }

        void Close(double[] expected, float[] actual) =>
            Assert.All(expected.Zip(actual), pair => Assert.InRange(Math.Abs(pair.First - pair.Second) / slots, 0, 1e-6));
    });

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
        {
            Assert.All(run.Sums(s, 0), value => Assert.Equal(0, value));
            Assert.All(run.Bands(s, 0), value => Assert.Equal(0, value));
            Assert.Equal(0, run.Range(s, 0));
        }
    });

    private void AssertDense(KvCase kvCase)
    {
        var run = new KvRun(kvCase, backend);
        float[][] rows = run.All(observe: true);
        Tolerance allowed = AttentionTolerance(tolerance, kvCase.Format);
        for (int s = 0; s < rows.Length; s++)
        {
            (float[] output, KvCase.HeadSums[] sums) = kvCase.Dense(s);
            allowed.AssertClose(output, rows[s], $"sequence {s} of {kvCase.Format}, group {kvCase.Group}, window {kvCase.Window}");
            KvCase.Watched watched = kvCase.Sequences[s].Watched;
            for (int head = 0; head < sums.Length; head++)
            {
                string what = $"sequence {s}, head {head}, {watched}";
                AssertSums(allowed, sums[head].Columns, run.Sums(s, head), watched.Sums.HasFlag(AttentionSums.Columns), what);
                AssertSums(allowed, sums[head].Band, run.Bands(s, head), watched.Sums.HasFlag(AttentionSums.Band), what);
                for (int g = 0; g < kvCase.Group; g++)
                {
                    bool heads = watched.Sums.HasFlag(AttentionSums.Heads);
                    AssertSums(allowed, sums[head].Each[g].Columns, run.Sums(s, head, 1 + g), heads && watched.Sums.HasFlag(AttentionSums.Columns), what);
                    AssertSums(allowed, sums[head].Each[g].Band, run.Bands(s, head, 1 + g), heads && watched.Sums.HasFlag(AttentionSums.Band), what);
                }

                AssertSums(allowed, [sums[head].Range], [run.Range(s, head)], watched.Sums.HasFlag(AttentionSums.RangeMass), what);
            }
        }
    }

    /// <summary>How far attention over a cache may be off.</summary>
    /// <param name="tolerance">What the other verbs keep.</param>
    private protected virtual Tolerance AttentionTolerance(Tolerance tolerance, KvBlockFormat format) =>
        // An output is small where values cancel: twice. A packed element is minimum + code · scale, summed apart: |minimum| + |maximum − minimum| is at
        // most three times its largest magnitude.
        tolerance.Times(format.PackedBits == 0 ? 2 : 6);

    private static void AssertSums(Tolerance allowed, double[] expected, float[] actual, bool wanted, string what)
    {
        allowed.AssertClose([.. expected.Select(sum => wanted ? (float)sum : 0)], actual.AsSpan(0, expected.Length), what);
        Assert.All(actual.Skip(expected.Length), value => Assert.Equal(0, value));
    }
}
