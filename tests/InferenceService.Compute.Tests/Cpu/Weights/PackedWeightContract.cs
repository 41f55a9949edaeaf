using System.Runtime.InteropServices;
using System.Security.Cryptography;
using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu.Weights;

/// <summary>Products with packed weights: what every family of kernels must do.</summary>
public abstract class PackedWeightContract : IDisposable
{
    private static readonly WeightFormat[] Formats = [WeightFormat.BF16, WeightFormat.Int8, WeightFormat.Int4];

    private readonly CpuBackend _backend;
    private readonly CpuBackend _twin = new(1, SimdPath.Portable, KernelFamily.Portable);
    private readonly bool _exactBF16;

    /// <param name="exactBF16">Whether bfloat16 too has the bits of the portable twin.</param>
    protected PackedWeightContract(CpuBackend backend, bool exactBF16) => (_backend, _exactBF16) = (backend, exactBF16);

    public void Dispose()
    {
        _backend.Dispose();
        _twin.Dispose();
        GC.SuppressFinalize(this);
    }

    [ContractFact]
    public void Product_is_that_of_the_rounded_operands() => Property.Check(40, random => Product(
        random, Formats[random.Next(3)], random.Next(1, 71), random.Next(1, 130), 32 * random.Next(1, 40)));

    [ContractFact]
    public void Product_is_that_of_the_rounded_operands_at_awkward_sizes()
    {
        (int M, int N, int K)[] sizes = [(1, 1, 32), (1, 32, 6016), (2, 33, 5632), (13, 31, 288), (70, 65, 256), (25, 96, 2048), (12, 300, 64), (97, 32, 544), (6, 64, 512)];
        foreach (WeightFormat format in Formats)
        {
            foreach ((int m, int n, int k) in sizes)
                Product(new Random(m * n + k), format, m, n, k);
        }

        foreach (int k in (int[])[2, 6, 30, 34, 62, 1026])
            Product(new Random(k), WeightFormat.BF16, 9, 40, k);
    }

    [ContractFact]
    public void Every_number_of_rows_has_the_bits_of_the_twin()
    {
        foreach (WeightFormat format in Formats)
        {
            for (int rows = 1; rows <= 40; rows++)
            {
                var random = new Random(rows);
                Matrix x = Matrix.Random(random, DType.F32, rows, 352, strided: true), source = Matrix.Random(random, DType.BF16, 65, 352);
                float[] expected = Multiply(_twin, format, x, source), actual = Multiply(_backend, format, x, source);
                AssertTwin(format, expected, actual, $"{format}, {rows} rows");
            }
        }
    }

    [ContractFact]
    public void A_row_has_the_same_bits_alone_and_in_any_batch() => Property.Check(12, random =>
    {
        WeightFormat format = Formats[random.Next(3)];
        int rows = random.Next(2, 90), outputs = random.Next(1, 100);
        Matrix x = Matrix.Random(random, DType.F32, rows, 32 * random.Next(1, 30));
        Matrix source = Matrix.Random(random, DType.F32, outputs, x.Columns);
        float[] all = Multiply(_backend, format, x, source);
        for (int trial = 0; trial < 4; trial++)
        {
            int start = random.Next(rows), count = random.Next(1, rows - start + 1);
            Tolerance.AssertSame(
                all.AsSpan(start * outputs, count * outputs), Multiply(_backend, format, x.RowRange(start, count), source), $"{format}, rows {start}+{count} of {rows}");
        }
    });

    [ContractFact]
    public void Parts_of_a_stacked_matrix_pack_to_the_same_bytes() => Property.Check(15, random =>
    {
        WeightFormat format = Formats[random.Next(3)];
        int rows = random.Next(2, 130), cut = random.Next(1, rows);
        Matrix source = Matrix.Random(random, (DType)random.Next(3), rows, 32 * random.Next(1, 20), strided: true);
        Weight whole = _twin.AllocateWeight(format, rows, source.Columns), parts = _backend.AllocateWeight(format, rows, source.Columns);
        WeightError error = _twin.Pack(source.On(_twin), whole, 0);
        WeightError sum = _backend.Pack(source.RowRange(cut, rows - cut).On(_backend), parts, cut) + _backend.Pack(source.RowRange(0, cut).On(_backend), parts, 0);
        Assert.Equal(_twin.Read(whole.Memory, []).ToArray(), _backend.Read(parts.Memory, []).ToArray());
        Assert.Equal(error.Relative, sum.Relative, 1e-6 * error.Relative); // eight rows are summed in binary32, and the cut may go through them
    });

    [ContractFact]
    public void Not_a_number_spoils_its_row_and_no_other()
    {
        foreach (WeightFormat format in Formats)
        {
            foreach (float poison in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
            {
                var random = new Random(3);
                Matrix x = Matrix.Random(random, DType.F32, 20, 320), source = Matrix.Random(random, DType.F32, 33, 320);
                float[] clean = Multiply(_backend, format, x, source);
                x.Values[7 * 320 + 100] = poison;
                float[] dirty = Multiply(_backend, format, x, source);
                for (int i = 0; i < clean.Length; i++)
                {
                    if (i / 33 != 7)
                        Assert.Equal(clean[i], dirty[i]);
                    else
                        Assert.False(float.IsFinite(dirty[i]));
                }
            }
        }
    }

    /// <remarks>The hashes are those of a Zen 5 processor; with AVX-512, AVX2 or all vector instructions switched off they stay.</remarks>
    [ContractFact]
    public void Packed_bytes_and_integer_products_are_the_same_on_every_processor()
    {
        (WeightFormat Format, string Packed, string Product)[] expected =
        [
            (WeightFormat.BF16, "2c79b74dadfa9444", ""),
            (WeightFormat.Int8, "791a4f2456702aaf", "da0e45180bafbb57"),
            (WeightFormat.Int4, "1a32f08adca5811b", "6823bdacac7fb774"),
        ];
        foreach ((WeightFormat format, string packed, string product) in expected)
        {
            var random = new Random(2026);
            Matrix x = Matrix.Random(random, DType.F32, 13, 1056), source = Matrix.Random(random, DType.F32, 77, 1056, width: 0.02f);
            Weight weight = _backend.AllocateWeight(format, source.Rows, source.Columns);
            _backend.Pack(source.On(_backend), weight, 0);
            Assert.Equal(packed, Hash(_backend.Read(weight.Memory, [])));
            if (product.Length > 0)
                Assert.Equal(product, Hash(MemoryMarshal.AsBytes(Multiply(_backend, format, x, source).AsSpan())));
        }

        static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes))[..16];
    }

    [ContractFact]
    public void Zeros_and_the_smallest_numbers_give_zeros()
    {
        foreach (WeightFormat format in Formats)
        {
            Matrix x = new(DType.F32, 3, 64, [.. Enumerable.Repeat(0f, 64), .. Enumerable.Repeat(1e-40f, 64), .. Enumerable.Repeat(1f, 64)]);
            Matrix source = new(DType.F32, 2, 64, [.. Enumerable.Repeat(1f, 64), .. Enumerable.Repeat(0f, 64)]);
            float[] output = Multiply(_backend, format, x, source);
            Assert.Equal(0, output[0]);
            Assert.Equal(0, output[2], 1e-30);
            Assert.InRange(output[4], 63.9f, 64.1f);
            Assert.Equal(0, output[5]);
        }
    }

    [ContractFact]
    public void A_stored_weight_has_the_bits_of_the_plain_product()
    {
        var random = new Random(5);
        Matrix x = Matrix.Random(random, DType.F32, 9, 100), source = Matrix.Random(random, DType.BF16, 40, 100), blank = Matrix.Blank(9, 40);
        Tensor matrix = source.On(_backend), plain = blank.On(_backend), wrapped = blank.On(_backend);
        _backend.MatMul(x.On(_backend), matrix, plain);
        _backend.MatMul(x.On(_backend), Weight.Stored(matrix), wrapped);
        Tolerance.AssertSame(blank.From(_backend, plain), blank.From(_backend, wrapped), "stored");
    }

    [ContractFact]
    public void Operands_that_do_not_fit_are_refused()
    {
        Assert.True(_backend.Supports(WeightFormat.Stored, 7));
        Assert.True(_backend.Supports(WeightFormat.Int4, 96));
        Assert.False(_backend.Supports(WeightFormat.Int8, 100));
        Assert.False(_backend.Supports(WeightFormat.BF16, 3));
        Assert.Throws<ShapeException>(() => _backend.AllocateWeight(WeightFormat.Int8, 4, 100));
        Assert.Throws<ShapeException>(() => _backend.AllocateWeight(WeightFormat.Stored, 4, 64));
        Weight weight = _backend.AllocateWeight(WeightFormat.Int8, 4, 64);
        Tensor x = _backend.Allocate(DType.F32, 2, 64), output = _backend.Allocate(DType.F32, 2, 4);
        Assert.Throws<ShapeException>(() => _backend.Pack(x, weight, 3));
        Assert.Throws<ShapeException>(() => _backend.Pack(x, weight, -1));
        Assert.Throws<ShapeException>(() => _backend.Pack(x.ColumnRange(0, 32), weight, 0));
        Assert.Throws<ShapeException>(() => _backend.Pack(x, Weight.Stored(x), 0));
        Assert.Throws<ShapeException>(() => _backend.MatMul(x.ColumnRange(0, 32), weight, output));
        Assert.Throws<ShapeException>(() => _backend.MatMul(x, weight, output.ColumnRange(0, 3)));
        _backend.MatMul(x.RowRange(0, 0), weight, output.RowRange(0, 0));
        Assert.Equal(default, _backend.Pack(x.RowRange(0, 0), weight, 2));
    }

    private static float[] Multiply(CpuBackend backend, WeightFormat format, Matrix x, Matrix source)
    {
        Weight weight = backend.AllocateWeight(format, source.Rows, source.Columns);
        backend.Pack(source.On(backend), weight, 0);
        Matrix blank = Matrix.Blank(x.Rows, source.Rows, 1, 2);
        Tensor output = blank.On(backend);
        backend.MatMul(x.On(backend), weight, output);
        return blank.From(backend, output);
    }

    private void Product(Random random, WeightFormat format, int rows, int outputs, int columns)
    {
        Matrix x = Matrix.Random(random, DType.F32, rows, columns, strided: true), source = Matrix.Random(random, (DType)random.Next(3), outputs, columns, strided: true);
        string what = $"[{rows}, {columns}] · {format} [{outputs}, {columns}]ᵀ";
        Weight weight = _backend.AllocateWeight(format, outputs, columns);
        _backend.Pack(source.On(_backend), weight, 0);
        Matrix blank = Matrix.Blank(rows, outputs, random.Next(3), random.Next(3));
        Tensor output = blank.On(_backend);
        _backend.MatMul(x.On(_backend), weight, output);
        float[] actual = blank.From(_backend, output);
        var packed = new PackedMatrix(_backend, weight);
        RoundedProduct.AssertClose(format, x, packed, outputs, actual, what);
        AssertTwin(format, Multiply(_twin, format, x, source), actual, what);
    }

    private void AssertTwin(WeightFormat format, float[] expected, float[] actual, string what)
    {
        if (format != WeightFormat.BF16 || _exactBF16)
            Tolerance.AssertSame(expected, actual, what);
        else
            Tolerance.F32.AssertClose(expected, actual, what);
    }
}
