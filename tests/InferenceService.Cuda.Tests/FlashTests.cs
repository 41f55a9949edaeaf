using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>
/// Attention on tensor cores, over windows, gaps, sinks, absent and packed blocks, queries of every group size, and slots that hold NaN. Against
/// the dense answer in binary64, with the tolerance of the contract.
/// </summary>
[RequiresCuda]
public sealed class FlashTests : IDisposable
{
    private static readonly int[] Others = [32, 48, 80, 96, 112, 256];
    private static readonly KvCase.Limits Served = new(Sequences: 3, Slots: 200, Rows: 30) { BlockSizes = [3, 16, 32], HeadDims = [64, 128, .. Others], FewestRows = 5 };

    private readonly CudaBackend _flash = CudaUnderTest.Backend(), _rounded = CudaUnderTest.Backend(options => options with { RoundedAttention = true });

    public void Dispose()
    {
        _flash.Dispose();
        _rounded.Dispose();
    }

    [ContractFact]
    public void Prompts_equal_the_dense_answer() => Property.Check(25, random => AssertDense(_flash, KvCase.Random(random, Served)));

    [ContractFact]
    public void Prompts_over_packed_blocks_equal_the_dense_answer() => Property.Check(12, random =>
        AssertDense(_flash, KvCase.Random(random, Served with { BlockSizes = [32, 64], PackedBits = [4, 8] })));

    [ContractFact]
    public void Single_rows_over_packed_blocks_equal_the_dense_answer() => Property.Check(4, random =>
        AssertDense(_flash, KvCase.Random(random, new KvCase.Limits(1, 1200, 1) { BlockSizes = [32], HeadDims = [64, 96, 128], PackedBits = [4, 8] })));

    [ContractFact]
    public void Few_rows_equal_the_dense_answer() => Property.Check(12, random =>
        AssertDense(_flash, KvCase.Random(random, new KvCase.Limits(3, 400, random.Next(1, 6)) { BlockSizes = [16, 32], HeadDims = [64, 128, .. Others] })));

    [ContractFact]
    public void Few_and_many_rows_in_one_step_equal_the_dense_answer() => Property.Check(15, random =>
        AssertDense(_flash, KvCase.Random(random, new KvCase.Limits(5, random.Next(2) == 0 ? 100 : 900, 24) { BlockSizes = [32], HeadDims = [32, 64, 80, 128], PackedBits = [0, 0, 0, 8] }), random.Next(3) == 0));

    [ContractFact]
    public void Windows_over_long_contexts_equal_the_dense_answer() => Property.Check(4, random =>
        AssertDense(_flash, KvCase.Random(random, Served with { Sequences = 1, Slots = 1500, Rows = 20, BlockSizes = [16, 32], Windowed = true })));

    [ContractFact]
    public void Rounded_queries_and_weights_err_by_their_rounding() => Property.Check(3, random =>
    {
        KvCase kvCase = KvCase.Random(random, Served with { Sequences = 1 });
        float[] rows = new KvRun(kvCase, _rounded).All(observe: false)[0], expected = kvCase.Dense(0).Output;
        bool isRounded = kvCase.Format.Type == DType.BF16;
        (double score, double value) = Magnitudes(kvCase);
        // A score moves by 2^-9 of the sum of its magnitudes, a weight by at most twice the largest such move and 2^-9 of its own.
        double allowed = isRounded ? Math.Pow(2, -9) * (2 * score + 1) * value : 1e-4;
        Assert.All(expected.Zip(rows), pair => Assert.InRange(pair.Second - pair.First, -allowed, allowed));
    });

    [ContractFact]
    public void Served_sizes_have_a_kernel_and_others_take_the_exact_one()
    {
        foreach (int headDim in (int[])[64, 128, .. Others])
        {
            foreach (int bits in (int[])[0, 4, 8])
            {
                Assert.NotNull(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.BF16, 32, headDim, 1, bits), 64, rounded: false, few: false));
                Assert.NotNull(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.F16, 32, headDim, 1, bits), 1, rounded: true, few: false));
                Assert.NotNull(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.BF16, 32, headDim, 1, bits), 16, rounded: false, few: true));
            }

            KvBlockFormat plain = new(DType.BF16, 16, headDim, 1);
            Assert.NotSame(CudaUnderTest.Kernels.Flash(plain, 4, rounded: true, few: false), CudaUnderTest.Kernels.Flash(plain, 4, rounded: false, few: false));
        }

        Assert.Null(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.F32, 16, 128, 1), 4, rounded: false, few: false));
        Assert.Null(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.BF16, 16, 72, 1), 4, rounded: false, few: false));
        Assert.Null(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.BF16, 16, 128, 1), 65, rounded: false, few: false));
        Assert.Null(CudaUnderTest.Kernels.Flash(new KvBlockFormat(DType.BF16, 16, 128, 1), 17, rounded: false, few: true));
    }

    /// <summary>The largest Σ |q·k| · scale of any row and slot, and the largest |v|.</summary>
    private static (double Score, double Value) Magnitudes(KvCase kvCase)
    {
        KvCase.KvSequence s = kvCase.Sequences[0];
        (double score, double value) = (0, 0);
        for (int i = 0; i < s.Rows * kvCase.KvHeads * kvCase.Group; i++)
        {
            (int row, int query) = (i / (kvCase.KvHeads * kvCase.Group), i % (kvCase.KvHeads * kvCase.Group));
            int head = query / kvCase.Group, own = s.Lengths[kvCase.GroupOf(head)] + row;
            ReadOnlySpan<float> q = s.Q.Row(row).Slice(query * kvCase.Format.HeadDim, kvCase.Format.HeadDim);
            ReadOnlySpan<float> sink = s.SinkQ.Row(row).Slice(query * kvCase.Format.HeadDim, kvCase.Format.HeadDim);
            for (int slot = 0; slot <= own; slot++)
            {
                if (!kvCase.Sees(0, head, own, slot))
                    continue;
                ReadOnlySpan<float> key = kvCase.Stored(0, head, slot, value: false);
                double sum = 0;
                for (int d = 0; d < q.Length; d++)
                    sum += Math.Max(Math.Abs(q[d]), Math.Abs(sink[d])) * Math.Abs(key[d]);
                score = Math.Max(score, sum * kvCase.Scale);
                foreach (float v in kvCase.Stored(0, head, slot, value: true))
                    value = Math.Max(value, Math.Abs(v));
            }
        }

        return (score, value);
    }

    private static void AssertDense(CudaBackend backend, KvCase kvCase, bool observe = false)
    {
        float[][] rows = new KvRun(kvCase, backend).All(observe);
        for (int s = 0; s < rows.Length; s++)
        {
            CudaBackendTests.Allowed(Tolerance.F32, kvCase.Format)
                .AssertClose(kvCase.Dense(s).Output, rows[s], $"sequence {s} of {kvCase.Format}, group {kvCase.Group}, window {kvCase.Window}");
        }
    }
}
