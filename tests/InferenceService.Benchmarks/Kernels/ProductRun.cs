using System.Diagnostics;
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Kernels;

/// <summary>One product measured: so many copies of the weight in turn that caches hold none of them, as in a decoder.</summary>
internal sealed class ProductRun : IDisposable
{
    private const long FarMoreThanCaches = 256 << 20;
    private const int Passes = 25, FewestPasses = 5;
    private const double LongEnough = 0.5;
    private const double PassSeconds = 0.004;

    private readonly CpuBackend _backend;
    private readonly Weight[] _copies;
    private readonly Tensor _x, _output;
    private int _next;

    /// <param name="backend">Owned from now on.</param>
    public ProductRun(CpuBackend backend, WeightFormat format, int outputs, int inputs, int maxRows)
    {
        _backend = backend;
        Tensor stored = backend.Allocate(DType.BF16, outputs, inputs);
        backend.Upload(MemoryMarshal.AsBytes(RandomBF16(outputs * inputs).AsSpan()), stored);
        Weight first = Weight.Stored(stored);
        if (format != WeightFormat.Stored)
        {
            first = backend.AllocateWeight(format, outputs, inputs);
            backend.Pack(stored, first, 0);
        }

        _copies = new Weight[Math.Max(2, (int)(FarMoreThanCaches / first.ByteLength))];
        for (int i = 0; i < _copies.Length; i++)
        {
            Tensor memory = backend.Allocate(first.Memory.Type, first.Memory.Rows, first.Memory.Columns);
            backend.Upload(backend.Read(first.Memory, []), memory);
            _copies[i] = first with { Memory = memory };
        }

        _x = backend.Allocate(DType.F32, maxRows, inputs);
        var random = new Random(2);
        float[] values = new float[maxRows * inputs];
        for (int i = 0; i < values.Length; i++)
            values[i] = random.NextSingle() - 0.5f;
        backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), _x);
        _output = backend.Allocate(DType.F32, maxRows, outputs);
    }

    /// <summary>Bytes of the weight, read once a product.</summary>
    public long WeightBytes => _copies[0].ByteLength;

    public void Dispose() => _backend.Dispose();

    /// <summary>Seconds of one product, best of several passes, as the peaks it is held against are.</summary>
    public double Measure(int rows)
    {
        double estimate = Pass(rows, 2);
        double best = estimate;
        long start = Stopwatch.GetTimestamp();
        for (int pass = 0; pass < Passes && (pass < FewestPasses || Stopwatch.GetElapsedTime(start).TotalSeconds < LongEnough); pass++)
            best = Math.Min(best, Pass(rows, Math.Max(1, (int)(PassSeconds / best))));
        return best;
    }

    private double Pass(int rows, int products)
    {
        Tensor x = _x.RowRange(0, rows), output = _output.RowRange(0, rows);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < products; i++)
            _backend.MatMul(x, _copies[_next++ % _copies.Length], output);
        return Stopwatch.GetElapsedTime(start).TotalSeconds / products;
    }

    private static ushort[] RandomBF16(int count)
    {
        var random = new Random(1);
        ushort[] values = new ushort[count];
        for (int i = 0; i < count; i++)
            values[i] = (ushort)(BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) / 16) >> 16);
        return values;
    }
}
