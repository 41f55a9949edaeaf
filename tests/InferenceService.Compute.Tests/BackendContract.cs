using System.Runtime.InteropServices;

namespace InferenceService.Compute.Tests;

/// <summary>What every <see cref="IBackend"/> must do, checked against plain loops. One subclass a backend.</summary>
public abstract partial class BackendContract(IBackend backend, Tolerance tolerance) : IDisposable
{
    private readonly ReferenceBackend _reference = new();

    public void Dispose()
    {
        backend.Dispose();
        _reference.Dispose();
        GC.SuppressFinalize(this);
    }

    [ContractFact]
    public void Memory_comes_zeroed_and_keeps_what_is_uploaded()
    {
        Tensor tensor = backend.Allocate(DType.F32, 3, 5);
        byte[] bytes = new byte[60];
        backend.Download(tensor, bytes);
        Assert.All(bytes, b => Assert.Equal(0, b));
        Random.Shared.NextBytes(bytes);
        backend.Upload(bytes, tensor);
        byte[] back = new byte[60];
        backend.Download(tensor, back);
        Assert.Equal(bytes, back);
        Assert.Equal(bytes, backend.Read(tensor, new byte[60]).ToArray());
        backend.Upload(bytes.AsSpan(20, 4), tensor);
        backend.Download(tensor, back);
        Assert.Equal(bytes[20..24].Concat(bytes[4..]), back);
    }

    [ContractFact]
    public void Embed_gathers_and_widens_exactly() => Property.Check(20, random =>
    {
        Matrix table = Matrix.Random(random, AnyFloat(random), random.Next(1, 50), random.Next(1, 70), strided: true);
        int[] ids = Enumerable.Range(0, random.Next(1, 40)).Select(_ => random.Next(table.Rows)).ToArray();
        Matrix output = Matrix.Blank(ids.Length, table.Columns, 2, 1);
        Tensor placed = output.On(backend);
        backend.Embed(table.On(backend), Ints(ids), placed);
        Assert.Equal(ids.SelectMany(id => table.Row(id).ToArray()), output.From(backend, placed));
    });

    [ContractFact]
    public void Every_bit_pattern_of_sixteen_bits_widens_exactly()
    {
        byte[] patterns = MemoryMarshal.AsBytes<ushort>(Enumerable.Range(0, 65536).Select(i => (ushort)i).ToArray()).ToArray();
        foreach (DType type in new[] { DType.F16, DType.BF16 })
        {
            Tensor table = backend.Allocate(type, 4096, 16), output = backend.Allocate(DType.F32, 4096, 16);
            backend.Upload(patterns, table);
            backend.Embed(table, Ints(Enumerable.Range(0, 4096).ToArray()), output);
            float[] values = Download(output);
            for (int i = 0; i < values.Length; i++)
            {
                float expected = Half16Bits.Read(type, patterns, i);
                if (expected != values[i] && !(float.IsNaN(expected) && float.IsNaN(values[i])))
                    Assert.Fail($"{type} {i:X4} became {values[i]:R}, expected {expected:R}.");
            }
        }
    }

    [ContractFact]
    public void Norm_equals_its_definition() => Property.Check(30, random =>
    {
        int n = random.Next(1, 300), runs = random.Next(1, 4);
        Matrix x = Matrix.Random(random, DType.F32, random.Next(1, 20), n * runs, strided: true);
        Matrix weight = Matrix.Random(random, AnyFloat(random), 1, n);
        Compare("norm", x, (b, input, output) => b.RmsNorm(input, weight.On(b), 1e-5f, output));
        Compare("norm in place", x, (b, input) => b.RmsNorm(input, weight.On(b), 1e-5f, input));
    });

    [ContractFact]
    public void Add_then_norm_in_one_verb_has_the_same_bits() => Property.Check(20, random =>
    {
        int rows = random.Next(1, 40), n = random.Next(1, 300);
        Matrix x = Matrix.Random(random, DType.F32, rows, n, strided: true), residual = Matrix.Random(random, DType.F32, rows, n, strided: true);
        Tensor weight = Matrix.Random(random, AnyFloat(random), 1, n).On(backend), first = residual.On(backend), second = residual.On(backend);
        Matrix blank = Matrix.Blank(rows, n);
        Tensor one = blank.On(backend), two = blank.On(backend);
        backend.AddRmsNorm(x.On(backend), first, weight, 1e-6f, one);
        backend.Add(x.On(backend), second);
        backend.RmsNorm(second, weight, 1e-6f, two);
        Tolerance.AssertSame(residual.From(backend, second), residual.From(backend, first), "residual");
        Tolerance.AssertSame(blank.From(backend, two), blank.From(backend, one), "norm");
    });

    [ContractFact]
    public void Bias_and_residual_are_added() => Property.Check(20, random =>
    {
        Matrix x = Matrix.Random(random, DType.F32, random.Next(1, 40), random.Next(1, 300), strided: true);
        Matrix bias = Matrix.Random(random, AnyFloat(random), 1, x.Columns), other = Matrix.Random(random, DType.F32, x.Rows, x.Columns, strided: true);
        Compare("bias", x, (b, target) => b.AddBias(target, bias.On(b)));
        Compare("add", x, (b, target) => b.Add(other.On(b), target));
    });

    [ContractFact]
    public void Rope_rotates_the_leading_part_of_every_head() => Property.Check(30, random =>
    {
        int headDim = random.Next(1, 140), rotary = 2 * random.Next(headDim / 2 + 1);
        Matrix x = Matrix.Random(random, DType.F32, random.Next(1, 30), headDim * random.Next(1, 5), strided: true);
        Matrix cosSin = Matrix.Random(random, DType.F32, x.Rows, rotary, strided: true);
        Compare("rope", x, (b, target) => b.Rope(target, cosSin.On(b), headDim));
    });

    [ContractFact]
    public void Silu_multiplies() => Property.Check(20, random =>
    {
        Matrix gate = Matrix.Random(random, DType.F32, random.Next(1, 30), random.Next(1, 300), width: 10, strided: true);
        Matrix up = Matrix.Random(random, DType.F32, gate.Rows, gate.Columns, strided: true);
        Compare("silu", gate, (b, input, output) => b.SiluMultiply(input, up.On(b), output));
        Compare("silu into gate", gate, (b, input) => b.SiluMultiply(input, up.On(b), input));
        Compare("silu into up", up, (b, input) => b.SiluMultiply(gate.On(b), input, input));
    });

    [ContractFact]
    public void Silu_is_accurate_over_its_whole_range()
    {
        float[] gates = Enumerable.Range(-8600, 17200).Select(i => i / 100f).ToArray();
        Matrix gate = new(DType.F32, 1, gates.Length, gates), one = new(DType.F32, 1, gates.Length, gates.Select(_ => 1f).ToArray());
        Matrix blank = Matrix.Blank(1, gates.Length);
        Tensor output = blank.On(backend);
        backend.SiluMultiply(gate.On(backend), one.On(backend), output);
        float[] values = blank.From(backend, output);
        for (int i = 0; i < values.Length; i++)
        {
            double expected = gates[i] / (1 + Math.Exp(-(double)gates[i]));
            if (!(Math.Abs(values[i] - expected) <= 4 * Math.Pow(2, -23) * Math.Abs(expected)))
                Assert.Fail($"silu({gates[i]}) is {values[i]:R}, expected {expected:R}.");
        }
    }

    [ContractFact]
    public void Silu_survives_extremes()
    {
        float[] gates = [-1000, 1000, -88.5f, 88.5f, 0, -0f, 1e-40f, float.NaN, float.PositiveInfinity];
        Matrix gate = new(DType.F32, 1, gates.Length, gates), one = new(DType.F32, 1, gates.Length, gates.Select(_ => 1f).ToArray());
        Matrix blank = Matrix.Blank(1, gates.Length);
        Tensor output = blank.On(backend);
        backend.SiluMultiply(gate.On(backend), one.On(backend), output);
        float[] values = blank.From(backend, output);
        Assert.Equal(0, values[0], 1e-30);
        Assert.Equal(1000, values[1]);
        Assert.Equal(0, values[2], 1e-30);
        Assert.Equal(88.5f, values[3]);
        Assert.Equal(0, values[4]);
        Assert.Equal(0, values[5]);
        Assert.Equal(0, values[6], 1e-30);
        Assert.True(float.IsNaN(values[7]));
        Assert.Equal(float.PositiveInfinity, values[8]);
    }

    private protected static DType AnyFloat(Random random) => (DType)random.Next(3);

    private protected Tensor Ints(int[] values)
    {
        Tensor tensor = backend.Allocate(DType.I32, 1, values.Length);
        backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return tensor;
    }

    private float[] Download(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download(tensor, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>Runs a verb with a separate output on both backends.</summary>
    private void Compare(string what, Matrix x, Action<IBackend, Tensor, Tensor> verb, int columns = 0)
    {
        Matrix blank = Matrix.Blank(x.Rows, columns > 0 ? columns : x.Columns, 1, 2);
        Tensor expected = blank.On(_reference), actual = blank.On(backend);
        verb(_reference, x.On(_reference), expected);
        verb(backend, x.On(backend), actual);
        tolerance.AssertClose(blank.From(_reference, expected), blank.From(backend, actual), what);
    }

    /// <summary>Runs a verb that changes its operand on both backends.</summary>
    private void Compare(string what, Matrix x, Action<IBackend, Tensor> verb)
    {
        Tensor expected = x.On(_reference), actual = x.On(backend);
        verb(_reference, expected);
        verb(backend, actual);
        tolerance.AssertClose(x.From(_reference, expected), x.From(backend, actual), what);
    }
}
