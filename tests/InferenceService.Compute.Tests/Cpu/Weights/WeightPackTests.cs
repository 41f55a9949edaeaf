using System.Security.Cryptography;
using InferenceService.Compute.Cpu;
using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Compute.Tests.Cpu.Weights;

public sealed class WeightPackTests : IDisposable
{
    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Theory]
    [InlineData(WeightFormat.BF16, "72b766d8375cc267")]
    [InlineData(WeightFormat.Int8, "62f70ea8eed40537")]
    [InlineData(WeightFormat.Int4, "931bb82c5f4eacfa")]
    public void Another_yield_of_packing_needs_another_name(WeightFormat format, string beginning)
    {
        var source = new Matrix(DType.F32, 45, 352, [.. Enumerable.Range(0, 45 * 352).Select(i => ((uint)i * 2654435761u >> 8) % 2001 / 997f - 1)]);
        foreach (SimdPath path in Enum.GetValues<SimdPath>().Where(path => path.IsSupported()))
        {
            using var backend = new CpuBackend(2, path);
            Weight weight = backend.AllocateWeight(format, 45, 352);
            backend.Pack(source.On(backend), weight, 0);
            byte[] bytes = new byte[weight.ByteLength];
            backend.Download(weight.Memory, bytes);
            // Files of packed weights are found by the name: who changes one of these hashes changes it.
            Assert.Equal(("panels of 32, 1", beginning), (backend.PackedLayout, Convert.ToHexStringLower(SHA256.HashData(bytes))[..16]));
        }
    }

    [Fact]
    public void Bytes_are_within_half_a_step_of_the_largest_of_their_run_over_127() => Property.Check(15, random =>
    {
        Matrix source = Source(random);
        PackedMatrix packed = Pack(WeightFormat.Int8, source, out WeightError error);
        for (int row = 0; row < source.Rows; row++)
        {
            for (int k = 0; k < source.Columns; k++)
            {
                int run = k / 256 * 256;
                float largest = source.Row(row)[run..Math.Min(run + 256, source.Columns)].ToArray().Max(Math.Abs);
                // Value times inverse is rounded twice and the scale once: up to three halves of an ulp of 127 steps, counted in half steps.
                Assert.InRange(Math.Abs(packed[row, k] - (double)source.Row(row)[k]), 0, largest / 254.0 * (1 + (3 * 127 * Math.Pow(2, -23))));
            }
        }

        AssertError(source, packed, error);
    });

    [Fact]
    public void Nibbles_lose_no_more_than_a_scale_from_the_largest_of_their_group() => Property.Check(15, random =>
    {
        Matrix source = Source(random);
        PackedMatrix packed = Pack(WeightFormat.Int4, source, out WeightError error);
        for (int row = 0; row < source.Rows; row++)
        {
            for (int group = 0; group < source.Columns; group += 32)
            {
                ReadOnlySpan<float> values = source.Row(row).Slice(group, 32);
                double lost = 0, plain = 0;
                float largest = values.ToArray().MaxBy(Math.Abs), scale = largest / -8;
                for (int i = 0; i < 32; i++)
                {
                    lost += Math.Pow(packed[row, group + i] - values[i], 2);
                    plain += Math.Pow(Math.Clamp(Math.Round(values[i] / scale), -8, 7) * scale - values[i], 2);
                }

                // Rounding the fitted scale to binary16 moves an element by at most 2^−11 of itself.
                Assert.InRange(Math.Sqrt(lost), 0, Math.Sqrt(plain) + Math.Abs(largest) * Math.Sqrt(32) / 2048);
            }
        }

        AssertError(source, packed, error);
    });

    [Fact]
    public void Bfloat16_of_bfloat16_loses_nothing() => Property.Check(10, random =>
    {
        Matrix source = Matrix.Random(random, DType.BF16, random.Next(1, 70), 2 * random.Next(1, 300), strided: true);
        PackedMatrix packed = Pack(WeightFormat.BF16, source, out WeightError error);
        for (int row = 0; row < source.Rows; row++)
        {
            for (int k = 0; k < source.Columns; k++)
                Assert.Equal(source.Row(row)[k], packed[row, k]);
        }

        Assert.Equal(0, error.Relative);
    });

    [Fact]
    public void Symmetric_groups_lose_what_was_measured_on_normal_weights()
    {
        var random = new Random(11);
        float[] values = [.. Enumerable.Range(0, 64 * 1024).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        var source = new Matrix(DType.F32, 64, 1024, values);
        _ = Pack(WeightFormat.Int4, source, out WeightError nibbles);
        _ = Pack(WeightFormat.Int8, source, out WeightError bytes);
        Assert.InRange(nibbles.Relative, 0.078, 0.083);
        Assert.InRange(bytes.Relative, 0.005, 0.008);
    }

    [Fact]
    public void Not_a_number_spoils_its_own_channel_only()
    {
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.Int8, WeightFormat.Int4])
        {
            Matrix source = Matrix.Random(new Random(2), DType.F32, 40, 320), x = Matrix.Random(new Random(3), DType.F32, 2, 320), blank = Matrix.Blank(2, 40);
            source.Values[9 * 320 + 77] = float.NaN;
            source.Values[10 * 320 + 300] = float.PositiveInfinity;
            Weight weight = _backend.AllocateWeight(format, 40, 320);
            _backend.Pack(source.On(_backend), weight, 0);
            Tensor output = blank.On(_backend);
            _backend.MatMul(x.On(_backend), weight, output);
            float[] values = blank.From(_backend, output);
            for (int i = 0; i < values.Length; i++)
                Assert.Equal(i % 40 is not (9 or 10), float.IsFinite(values[i]));
        }
    }

    private static Matrix Source(Random random) =>
        Matrix.Random(random, (DType)random.Next(3), random.Next(1, 70), 32 * random.Next(1, 20), (float)Math.Pow(10, random.Next(-3, 3)), strided: true);

    private static void AssertError(Matrix source, PackedMatrix packed, WeightError error)
    {
        double lost = 0, total = 0;
        for (int row = 0; row < source.Rows; row++)
        {
            for (int k = 0; k < source.Columns; k++)
            {
                lost += Math.Pow(packed[row, k] - source.Row(row)[k], 2);
                total += Math.Pow(source.Row(row)[k], 2);
            }
        }

        Assert.Equal(Math.Sqrt(lost / total), error.Relative, 1e-3 * error.Relative + 1e-6);
    }

    private PackedMatrix Pack(WeightFormat format, Matrix source, out WeightError error)
    {
        Weight weight = _backend.AllocateWeight(format, source.Rows, source.Columns);
        error = _backend.Pack(source.On(_backend), weight, 0);
        Assert.Equal(weight.ByteLength, (long)WeightLayout.Panels(source.Rows) * WeightLayout.PanelBytes(format, source.Columns));
        return new PackedMatrix(_backend, weight);
    }
}
