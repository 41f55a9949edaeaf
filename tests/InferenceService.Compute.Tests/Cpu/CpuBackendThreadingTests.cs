using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

public sealed class CpuBackendThreadingTests
{
    [Fact]
    public void Many_short_operations_on_more_threads_than_cores_all_finish_and_agree()
    {
        using var many = new CpuBackend(8);
        using var one = new CpuBackend(1);
        var random = new Random(7);
        Matrix x = Matrix.Random(random, DType.F32, 3, 128), weight = Matrix.Random(random, DType.BF16, 512, 128), blank = Matrix.Blank(3, 512);
        Tensor expected = blank.On(one), actual = blank.On(many), input = x.On(many), placed = weight.On(many);
        one.MatMul(x.On(one), weight.On(one), expected);
        for (int i = 0; i < 300; i++)
        {
            many.SiluMultiply(actual, actual, actual);
            many.MatMul(input, placed, actual);
        }

        Tolerance.AssertSame(blank.From(one, expected), blank.From(many, actual), "8 threads");
    }

    [Fact]
    public void Threads_that_went_to_sleep_wake_for_the_next_operation()
    {
        using var backend = new CpuBackend(3);
        Matrix x = Matrix.Random(new Random(1), DType.F32, 64, 256), blank = Matrix.Blank(64, 256);
        Tensor input = x.On(backend), weight = Matrix.Random(new Random(2), DType.F32, 256, 256).On(backend), output = blank.On(backend);
        backend.MatMul(input, weight, output);
        float[] first = blank.From(backend, output);
        for (int i = 0; i < 12; i++)
        {
            int asleep = i % 3; // none, some or all of them
            SpinWait.SpinUntil(() => backend.Host.Sleeping >= asleep);
            backend.MatMul(input, weight, output);
            Tolerance.AssertSame(first, blank.From(backend, output), $"round {i}");
        }
    }

    [Fact]
    public void Measured_limits_are_plausible()
    {
        using var backend = new CpuBackend(1);
        Assert.InRange(Bandwidth.Read(backend, 8 << 20, 1), 1e7, 1e13);
        Assert.InRange(Arithmetic.Peak(backend, 1), 1e8, 1e13);
        Assert.Equal(0, Arithmetic.DotPeak(backend, WeightFormat.Stored, 1));
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.Int8])
            Assert.True(Arithmetic.DotPeak(backend, format, 1) is 0 or (> 1e8 and < 1e14));
        Assert.Throws<ArgumentOutOfRangeException>(() => Bandwidth.Read(backend, 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CpuBackend(-1));
    }
}
