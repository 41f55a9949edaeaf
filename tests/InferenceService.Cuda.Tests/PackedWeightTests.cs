using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>Weights rounded to bfloat16 or binary16, whose products round x too: by cuBLASLt, and by kernels of our own where rows are few or must not depend on each other; and weights in 8 and 4 bits.</summary>
[RequiresCuda]
public sealed class PackedWeightTests
{
    [ContractFact]
    public void Product_is_that_of_the_rounded_operands()
    {
        foreach ((WeightFormat format, bool deterministic) in ((WeightFormat, bool)[])[(WeightFormat.BF16, false), (WeightFormat.BF16, true), (WeightFormat.F16, false), (WeightFormat.F16, true)])
        {
            using CudaBackend backend = CudaUnderTest.Backend(options => options with { Deterministic = deterministic });
            foreach ((int m, int n, int k) in ((int, int, int)[])[(1, 1, 2), (3, 40, 30), (9, 33, 64), (1, 5, 1026), (33, 17, 96), (8, 16, 3000), (17, 3, 140)])
            {
                var random = new Random(m * n + k);
                float[] x = Numbers(random, m * k), w = Numbers(random, n * k), actual = new float[m * n];
                using var host = new HostBuffer(4L * n * k);
                w.CopyTo(MemoryMarshal.Cast<byte, float>(host.Slice(0, 4 * n * k)));
                Tensor source = Tensor.Dense(host, 0, DType.F32, n, k);
                Weight weight = backend.AllocateWeight(format, n, k);
                int cut = n / 2;
                WeightError error = backend.Pack(source.RowRange(cut, n - cut), weight, cut) + backend.Pack(source.RowRange(0, cut), weight, 0);
                Assert.InRange(error.Relative, 1e-6, format == WeightFormat.BF16 ? 1.0 / 256 : 1.0 / 2048);
                Tensor input = backend.Allocate(DType.F32, m, k), output = backend.Allocate(DType.F32, m, n);
                backend.Upload(MemoryMarshal.AsBytes(x.AsSpan()), input);
                backend.MatMul(input, weight, output);
                backend.Download(output, MemoryMarshal.AsBytes(actual.AsSpan()));
                for (int i = 0; i < actual.Length; i++)
                {
                    double sum = 0, magnitude = 0;
                    for (int c = 0; c < k; c++)
                    {
                        double product = (double)Rounded(format, x[i / n * k + c]) * Rounded(format, w[i % n * k + c]);
                        (sum, magnitude) = (sum + product, magnitude + Math.Abs(product));
                    }

                    Assert.InRange(actual[i] - sum, -2 * k * Math.Pow(2, -24) * magnitude, 2 * k * Math.Pow(2, -24) * magnitude);
                }
            }
        }
    }

    [ContractFact]
    public void What_binary16_cannot_hold_becomes_its_largest_and_what_is_not_finite_stays_so()
    {
        foreach (int rows in (int[])[1, 20]) // few rows, and cuBLASLt
        {
            float[] values = [.. Enumerable.Range(0, rows * 8).Select(i => i % 8 == 3 ? (i / 8 % 4) switch { 0 => 1e6f, 1 => -3e38f, 2 => float.NaN, _ => float.NegativeInfinity } : 0f)];
            var x = new Matrix(DType.F32, rows, 8, values);
            float[] output = Multiply(CudaUnderTest.Backend(), WeightFormat.F16, x, new Matrix(DType.F32, 1, 8, [.. Enumerable.Repeat(0.5f, 8)]), 0).Output;
            for (int row = 0; row < rows; row++)
                Assert.True(row % 4 < 2 ? output[row] == (row % 4 == 0 ? 32752f : -32752f) : !float.IsFinite(output[row]), $"row {row} is {output[row]}");
        }
    }

    [ContractFact]
    public void Rows_stored_in_the_format_go_as_they_lie()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        foreach (int k in (int[])[64, 60]) // whole and padded rows
        {
            foreach ((WeightFormat format, DType type) in ((WeightFormat, DType)[])[(WeightFormat.BF16, DType.BF16), (WeightFormat.F16, DType.F16)])
            {
                var random = new Random(k);
                using HostBuffer narrow = new(2L * 5 * k), wide = new(4L * 5 * k);
                for (int i = 0; i < 5 * k; i++)
                {
                    float value = Rounded(format, random.NextSingle() - 0.5f);
                    Half16(type, narrow.Slice(2 * i, 2), value);
                    Half16(DType.F32, wide.Slice(4 * i, 4), value);
                }

                byte[][] packed = [.. new[] { Tensor.Dense(narrow, 0, type, 5, k), Tensor.Dense(wide, 0, DType.F32, 5, k) }.Select(source =>
                {
                    Weight weight = backend.AllocateWeight(format, 5, k);
                    Assert.Equal(0, (backend.Pack(source.RowRange(2, 3), weight, 2) + backend.Pack(source.RowRange(0, 2), weight, 0)).Relative);
                    byte[] bytes = new byte[weight.Memory.ByteLength];
                    backend.Download(weight.Memory, bytes);
                    return bytes;
                })];
                Assert.Equal(packed[1], packed[0]);
                Assert.Contains(packed[0], b => b != 0);
            }
        }
    }

    [ContractFact]
    public void Integers_give_the_products_and_the_losses_of_the_processor() => Property.Check(20, random =>
    {
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.Int8, WeightFormat.Int4])
        {
            // Few rows, several passes of few rows, tiles; whole and partial runs and steps.
            int m = new[] { random.Next(1, 9), random.Next(1, 33), random.Next(33, 150) }[random.Next(3)];
            int n = random.Next(1, random.Next(8) == 0 ? 200 : 50), k = 32 * random.Next(1, 30), cut = random.Next(n + 1);
            Matrix x = Matrix.Random(random, DType.F32, m, k, strided: true), w = Matrix.Random(random, (DType)random.Next(3), n, k, width: 0.1f, strided: true);
            (float[] expected, double lost) = Multiply(new CpuBackend(1, SimdPath.Portable, KernelFamily.Portable), format, x, w, 0);
            (float[] actual, double same) = Multiply(CudaUnderTest.Backend(), format, x, w, cut);
            Tolerance.F32.AssertClose(expected, actual, $"[{m}, {k}] x {format} {w.Type} [{n}, {k}]");
            Assert.InRange(same / lost, 1 - 1e-4, 1 + 1e-4);
        }
    });

    [ContractFact]
    public void A_row_of_a_deterministic_product_has_the_same_bits_alone_and_in_a_batch()
    {
        static CudaBackend Backend() => CudaUnderTest.Backend(options => options with { Deterministic = true });
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.F16, WeightFormat.Int8, WeightFormat.Int4])
        {
            var random = new Random(7);
            Matrix x = Matrix.Random(random, DType.F32, 50, 352), w = Matrix.Random(random, DType.BF16, 9, 352);
            float[] all = Multiply(Backend(), format, x, w, 0).Output;
            foreach ((int row, int count) in ((int, int)[])[(0, 1), (7, 3), (12, 11), (20, 30), (49, 1)])
                Tolerance.AssertSame(all.AsSpan(row * 9, count * 9), Multiply(Backend(), format, x.RowRange(row, count), w, 0).Output, $"{format}, rows {row}+{count}");
        }
    }

    [ContractFact]
    public void Not_a_number_spoils_its_row_and_no_other_and_zeros_stay_zeros()
    {
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.F16, WeightFormat.Int8, WeightFormat.Int4])
        {
            foreach (float poison in (float[])[float.NaN, float.PositiveInfinity, 0])
            {
                Matrix x = new(DType.F32, 3, 64, [.. Enumerable.Repeat(1f, 64), .. Enumerable.Repeat(poison == 0 ? 1e-40f : 1f, 63), poison, .. Enumerable.Repeat(0.5f, 64)]);
                Matrix w = new(DType.F32, 2, 64, [.. Enumerable.Repeat(1f, 64), .. Enumerable.Repeat(0f, 64)]);
                float[] output = Multiply(CudaUnderTest.Backend(), format, x, w, 1).Output;
                Assert.Equal((64f, 0f), (output[0], output[1]), Close);
                Assert.Equal((32f, 0f), (output[4], output[5]), Close);
                Assert.True(poison == 0 ? Math.Abs(output[2]) < 1e-30 : !float.IsFinite(output[2]));
            }
        }
    }

    [ContractFact]
    public void Formats_and_rows_that_do_not_fit_are_refused()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        Assert.True(backend.Supports(WeightFormat.Stored, 7));
        Assert.True(backend.Supports(WeightFormat.BF16, 6));
        Assert.False(backend.Supports(WeightFormat.BF16, 7));
        Assert.True(backend.Supports(WeightFormat.Int8, 64));
        Assert.False(backend.Supports(WeightFormat.Int4, 48));
        Assert.Throws<ShapeException>(() => backend.AllocateWeight(WeightFormat.Int8, 4, 48));
        Assert.Throws<ShapeException>(() => backend.AllocateWeight(WeightFormat.Stored, 4, 64));
        using var host = new HostBuffer(4 * 64);
        Weight weight = backend.AllocateWeight(WeightFormat.Int8, 4, 64);
        Assert.Throws<ShapeException>(() => backend.Pack(Tensor.Dense(host, 0, DType.F32, 1, 64), weight, 4));
        Assert.Throws<ShapeException>(() => backend.Pack(backend.Allocate(DType.F32, 1, 64), weight, 0));
    }

    private static bool Close((float, float) a, (float, float) b) => Math.Abs(a.Item1 - b.Item1) < 0.1 && Math.Abs(a.Item2 - b.Item2) < 1e-6;

    /// <summary>Packs in two parts, the second first, multiplies and disposes.</summary>
    private static (float[] Output, double Lost) Multiply(IBackend backend, WeightFormat format, Matrix x, Matrix w, int cut)
    {
        using (backend)
        using (var host = new HostBuffer(Math.Max(1, w.Values.Length * (long)w.Type.Size())))
        {
            for (int i = 0; i < w.Values.Length; i++)
                Half16(w.Type, host.Slice(i * w.Type.Size(), w.Type.Size()), w.Values[i]);
            Tensor source = Tensor.Dense(host, 0, w.Type, w.Rows, w.Columns);
            Weight weight = backend.AllocateWeight(format, w.Rows, w.Columns);
            WeightError error = backend.Pack(source.RowRange(cut, w.Rows - cut), weight, cut) + backend.Pack(source.RowRange(0, cut), weight, 0);
            Matrix blank = Matrix.Blank(x.Rows, w.Rows, 1, 2);
            Tensor output = blank.On(backend);
            backend.MatMul(x.On(backend), weight, output);
            return (blank.From(backend, output), error.Relative);
        }
    }

    private static void Half16(DType type, Span<byte> at, float value)
    {
        if (type == DType.F32)
            MemoryMarshal.Cast<byte, float>(at)[0] = value;
        else if (type == DType.F16)
            MemoryMarshal.Cast<byte, Half>(at)[0] = (Half)value;
        else
            MemoryMarshal.Cast<byte, ushort>(at)[0] = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16); // a bfloat16 already
    }

    private static float[] Numbers(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];

    private static float Rounded(WeightFormat format, float value)
    {
        if (format == WeightFormat.F16)
            return (float)(Half)value;
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
    }
}
