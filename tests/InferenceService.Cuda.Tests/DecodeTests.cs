using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>The kernels of single rows, on tensor cores or not, against the exact ones, over windows, gaps, sinks, absent blocks and slots that hold NaN.</summary>
[RequiresCuda]
public sealed class DecodeTests : IDisposable
{
    private readonly CudaBackend _fast = CudaUnderTest.Backend(), _exact = CudaUnderTest.Backend(options => options with { ExactAttention = true });

    public void Dispose()
    {
        _fast.Dispose();
        _exact.Dispose();
    }

    [ContractFact]
    public void Single_rows_equal_the_exact_attention() => Property.Check(60, random => AssertEqual(
        KvCase.Random(random, new KvCase.Limits(Sequences: 4, Slots: 300, Rows: random.Next(1, 4)) { BlockSizes = [3, 16, 32], HeadDims = [64, 128, 32, 48, 80, 96, 112, 256] })));

    [ContractFact]
    public void Single_rows_over_long_contexts_equal_the_exact_attention() => Property.Check(6, random => AssertEqual(
        KvCase.Random(random, new KvCase.Limits(Sequences: 2, Slots: 2500, Rows: 1) { BlockSizes = [16], HeadDims = [64, 128] })));

    [ContractFact]
    public void Single_rows_under_windows_equal_the_exact_attention() => Property.Check(10, random => AssertEqual(
        KvCase.Random(random, new KvCase.Limits(Sequences: 3, Slots: 1500, Rows: 1) { BlockSizes = [16, 32], HeadDims = [64, 128], Windowed = true })));

    [ContractFact]
    public void Served_sizes_have_a_kernel_and_others_take_the_exact_one()
    {
        foreach (DType type in (DType[])[DType.F16, DType.BF16])
        {
            foreach (int headDim in (int[])[32, 48, 64, 80, 96, 112, 128, 256])
            {
                for (int group = 1; group <= 3; group++)
                    Assert.NotNull(CudaUnderTest.Kernels.Decode(new KvBlockFormat(type, 16, headDim, 1), group));
            }
        }

        Assert.Null(CudaUnderTest.Kernels.Decode(new KvBlockFormat(DType.F32, 16, 128, 1), 3));
        Assert.Null(CudaUnderTest.Kernels.Decode(new KvBlockFormat(DType.BF16, 16, 24, 1), 3));
        Assert.Null(CudaUnderTest.Kernels.Decode(new KvBlockFormat(DType.BF16, 16, 128, 1), 4));
        Assert.Null(CudaUnderTest.Kernels.Decode(new KvBlockFormat(DType.BF16, 32, 128, 1, 4), 3));
    }

    private void AssertEqual(KvCase kvCase)
    {
        float[][] expected = new KvRun(kvCase, _exact).All(observe: false), actual = new KvRun(kvCase, _fast).All(observe: false);
        for (int s = 0; s < expected.Length; s++)
        {
            Tolerance allowed = kvCase.Group <= 3 ? Tolerance.F32 : CudaBackendTests.Allowed(Tolerance.F32, kvCase.Format); // from 4 heads on by flash.cu
            allowed.AssertClose(expected[s], actual[s], $"sequence {s} of {kvCase.Format}, group {kvCase.Group}, window {kvCase.Window}");
        }
    }
}
