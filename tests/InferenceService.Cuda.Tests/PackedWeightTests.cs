using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>Weights rounded to bfloat16, whose products round x too: by cuBLASLt, and by our own kernel where rows must not depend on each other.</summary>
[RequiresCuda]
public sealed class PackedWeightTests
{
    [ContractFact]
    public void Product_is_that_of_the_rounded_operands()
    {
        foreach (bool deterministic in (bool[])[false, true])
        {
            using CudaBackend backend = CudaUnderTest.Backend(options => options with { Deterministic = deterministic });
            foreach ((int m, int n, int k) in ((int, int, int)[])[(1, 1, 2), (3, 40, 30), (9, 33, 64), (1, 5, 1026), (33, 17, 96)])
            {
                var random = new Random(m * n + k);
                float[] x = Numbers(random, m * k), w = Numbers(random, n * k), actual = new float[m * n];
                using var host = new HostBuffer(4L * n * k);
                w.CopyTo(MemoryMarshal.Cast<byte, float>(host.Slice(0, 4 * n * k)));
                Tensor source = Tensor.Dense(host, 0, DType.F32, n, k);
                Weight weight = backend.AllocateWeight(WeightFormat.BF16, n, k);
                int cut = n / 2;
                WeightError error = backend.Pack(source.RowRange(cut, n - cut), weight, cut) + backend.Pack(source.RowRange(0, cut), weight, 0);
                Assert.InRange(error.Relative, 1e-5, 1.0 / 256);
                Tensor input = backend.Allocate(DType.F32, m, k), output = backend.Allocate(DType.F32, m, n);
                backend.Upload(MemoryMarshal.AsBytes(x.AsSpan()), input);
                backend.MatMul(input, weight, output);
                backend.Download(output, MemoryMarshal.AsBytes(actual.AsSpan()));
                for (int i = 0; i < actual.Length; i++)
                {
                    double sum = 0, magnitude = 0;
                    for (int c = 0; c < k; c++)
                    {
                        double product = (double)Rounded(x[i / n * k + c]) * Rounded(w[i % n * k + c]);
                        (sum, magnitude) = (sum + product, magnitude + Math.Abs(product));
                    }

                    Assert.InRange(actual[i] - sum, -2 * k * Math.Pow(2, -24) * magnitude, 2 * k * Math.Pow(2, -24) * magnitude);
                }
            }
        }
    }

    [ContractFact]
    public void Formats_that_are_not_held_are_refused()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        Assert.True(backend.Supports(WeightFormat.Stored, 7));
        Assert.True(backend.Supports(WeightFormat.BF16, 6));
        Assert.False(backend.Supports(WeightFormat.BF16, 7));
        Assert.False(backend.Supports(WeightFormat.Int8, 64));
        Assert.False(backend.Supports(WeightFormat.Int4, 64));
        Assert.Throws<ShapeException>(() => backend.AllocateWeight(WeightFormat.Int8, 4, 64));
        Assert.Throws<ShapeException>(() => backend.AllocateWeight(WeightFormat.Stored, 4, 64));
    }

    private static float[] Numbers(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];

    private static float Rounded(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
    }
}
