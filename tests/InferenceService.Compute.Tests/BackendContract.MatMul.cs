namespace InferenceService.Compute.Tests;

public abstract partial class BackendContract
{
    [ContractFact]
    public void Matrix_product_equals_its_definition() => Property.Check(40, random =>
        Product(random, random.Next(1, 71), random.Next(1, 80), random.Next(1, 300)));

    [ContractFact]
    public void Matrix_product_equals_its_definition_at_awkward_sizes()
    {
        (int M, int N, int K)[] sizes =
        [
            (1, 1, 1), (1, 1, 4096), (2, 3, 1024), (1, 130, 1025), (7, 65, 1039), (13, 64, 1040), (14, 66, 2049),
            (64, 7, 1100), (65, 129, 17), (70, 1, 2064), (300, 5, 40), (6, 256, 16),
        ];
        foreach ((int m, int n, int k) in sizes)
            Product(new Random(m * n + k), m, n, k);
    }

    [ContractFact]
    public void Product_with_no_rows_does_nothing()
    {
        Tensor weight = Matrix.Random(new Random(1), DType.F32, 3, 4).On(backend);
        backend.MatMul(backend.Allocate(DType.F32, 0, 4), weight, backend.Allocate(DType.F32, 0, 3));
    }

    [ContractFact]
    public void Operands_that_do_not_fit_are_refused()
    {
        Tensor x = backend.Allocate(DType.F32, 2, 8), weight = backend.Allocate(DType.BF16, 3, 8), output = backend.Allocate(DType.F32, 2, 3);
        Assert.Throws<ShapeException>(() => backend.MatMul(x, weight.ColumnRange(0, 7), output));
        Assert.Throws<ShapeException>(() => backend.MatMul(x, weight, output.RowRange(0, 1)));
        Assert.Throws<ShapeException>(() => backend.MatMul(x, backend.Allocate(DType.I32, 3, 8), output));
        Assert.Throws<ShapeException>(() => backend.RmsNorm(x, backend.Allocate(DType.F32, 1, 3), 1e-5f, x));
        Assert.Throws<ShapeException>(() => backend.Rope(x, backend.Allocate(DType.F32, 2, 3), 4));
        Assert.Throws<ShapeException>(() => backend.Embed(weight, Ints([0, 1, 2]), x));
        Assert.Throws<ShapeException>(() => backend.Add(x, output));
        Assert.Throws<ShapeException>(() => backend.AddBias(x, backend.Allocate(DType.F32, 1, 9)));
        Assert.Throws<ShapeException>(() => backend.Upload(new byte[65], x));
        Assert.Throws<ShapeException>(() => backend.Upload(new byte[8], x.ColumnRange(0, 2)));
    }

    private void Product(Random random, int m, int n, int k)
    {
        Matrix x = Matrix.Random(random, DType.F32, m, k, strided: true), weight = Matrix.Random(random, AnyFloat(random), n, k, strided: true);
        Compare($"[{m}, {k}] · {weight.Type} [{n}, {k}]ᵀ", x, (b, input, output) => b.MatMul(input, weight.On(b), output), n);
    }
}
