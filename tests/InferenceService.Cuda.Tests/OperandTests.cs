using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>What norms and SwiGLU write for products in the form that these read, against the same in f32 that the product rounds itself.</summary>
[RequiresCuda]
public sealed class OperandTests
{
    private static readonly WeightFormat[] Formats = [WeightFormat.BF16, WeightFormat.F16, WeightFormat.Int8, WeightFormat.Int4];

    [ContractFact]
    public void A_product_has_the_same_bits_whoever_rounds_its_operand() => Property.Check(10, random =>
    {
        bool deterministic = random.Next(2) == 0;
        using CudaBackend backend = CudaUnderTest.Backend(options => options with { Deterministic = deterministic });
        foreach (WeightFormat format in Formats)
        {
            int rows = new[] { random.Next(1, 9), random.Next(9, 20), random.Next(33, 70) }[random.Next(3)];
            int columns = format is WeightFormat.BF16 or WeightFormat.F16 ? 2 * random.Next(1, 200) : 32 * random.Next(1, random.Next(4) == 0 ? 75 : 12);
            Matrix x = Matrix.Random(random, DType.F32, rows, columns, width: 3, strided: true), other = Matrix.Random(random, DType.F32, rows, columns, strided: true);
            Tensor scale = Matrix.Random(random, DType.F32, 1, columns).On(backend);
            Weight weight = Random(random, backend, format, 5, columns);
            Same("norm", output => backend.RmsNorm(x.On(backend), scale, 1e-5f, output));
            Same("add and norm", output => backend.AddRmsNorm(other.On(backend), x.On(backend), scale, 1e-5f, output));
            Same("silu", output => backend.SiluMultiply(x.On(backend), other.On(backend), output));

            void Same(string verb, Action<Tensor> write)
            {
                Matrix first = Matrix.Blank(rows, 5, 1), second = Matrix.Blank(rows, 5);
                Tensor wide = backend.Allocate(DType.F32, rows, columns), operand = backend.AllocateOperand(format, rows, columns), one = first.On(backend), two = second.On(backend);
                Assert.NotEqual(DType.F32, operand.Type);
                write(wide);
                backend.MatMul(wide, weight, one);
                write(operand);
                backend.MatMul(operand, weight, two);
                Tolerance.AssertSame(first.From(backend, one), second.From(backend, two), $"{verb}, {format} [{rows}, {columns}]");
            }
        }
    });

    [ContractFact]
    public void Not_a_number_goes_through_an_operand_and_stays_in_its_row()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        foreach (WeightFormat format in Formats)
        {
            Matrix x = new(DType.F32, 3, 64, [.. Enumerable.Repeat(1f, 64), float.NaN, .. Enumerable.Repeat(1f, 127)]), blank = Matrix.Blank(3, 2);
            Tensor operand = backend.AllocateOperand(format, 3, 64), output = blank.On(backend);
            backend.SiluMultiply(x.On(backend), x.On(backend), operand);
            backend.MatMul(operand, Random(new Random(1), backend, format, 2, 64), output);
            Assert.Equal([true, true, false, false, true, true], blank.From(backend, output).Select(float.IsFinite));
        }
    }

    [ContractFact]
    public void Tensors_that_are_no_operands_are_refused()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        Tensor x = backend.Allocate(DType.F32, 2, 64), norm = backend.Allocate(DType.F32, 1, 64), heads = backend.Allocate(DType.F32, 1, 32), output = backend.Allocate(DType.F32, 2, 3);
        Tensor bf16 = backend.AllocateOperand(WeightFormat.BF16, 2, 64), bytes = backend.AllocateOperand(WeightFormat.Int4, 2, 64);
        Assert.Equal((DType.F32, DType.F16, DType.U8), (backend.AllocateOperand(WeightFormat.Stored, 2, 5).Type, backend.AllocateOperand(WeightFormat.F16, 2, 6).Type, bytes.Type));
        Assert.Throws<ShapeException>(() => backend.AllocateOperand(WeightFormat.Int8, 2, 40));
        Assert.Throws<ShapeException>(() => backend.RmsNorm(x, norm, 1e-5f, backend.Allocate(DType.U8, 2, 64))); // no room for scales
        Assert.Throws<ShapeException>(() => backend.RmsNorm(x, norm, 1e-5f, backend.Allocate(DType.I32, 2, 64)));
        Assert.Throws<ShapeException>(() => backend.RmsNorm(x, heads, 1e-5f, bf16)); // two runs a row
        Assert.Throws<ShapeException>(() => backend.SiluMultiply(x, x, backend.AllocateOperand(WeightFormat.BF16, 2, 32)));
        Assert.Throws<ShapeException>(() => backend.MatMul(bf16, backend.AllocateWeight(WeightFormat.F16, 3, 64), output));
        Assert.Throws<ShapeException>(() => backend.MatMul(bf16, backend.AllocateWeight(WeightFormat.Int8, 3, 64), output));
        Assert.Throws<ShapeException>(() => backend.MatMul(bytes, Weight.Stored(backend.Allocate(DType.BF16, 3, 64)), output));
        Assert.Throws<ShapeException>(() => backend.Add(bf16, x));
        backend.MatMul(bytes, backend.AllocateWeight(WeightFormat.Int8, 3, 64), output); // int8 and int4 take each other's
    }

    private static Weight Random(Random random, CudaBackend backend, WeightFormat format, int rows, int columns)
    {
        float[] values = Matrix.Random(random, DType.F32, rows, columns, width: 0.1f).Values;
        using var host = new HostBuffer(4L * values.Length);
        values.CopyTo(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(host.Slice(0, 4 * values.Length)));
        Weight weight = backend.AllocateWeight(format, rows, columns);
        backend.Pack(Tensor.Dense(host, 0, DType.F32, rows, columns), weight, 0);
        return weight;
    }
}
