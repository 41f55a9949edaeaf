using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Benchmarks.Machine;

/// <summary>The two ceilings of this machine, measured with as many threads as the decoder uses: bytes read a second and fp32 operations a second.</summary>
/// <param name="BytesPerSecond">Best of several passes over a buffer far larger than the last-level cache.</param>
/// <param name="FlopsPerSecond">Best of several runs of independent fused multiply-adds; one multiply-add is two operations.</param>
internal sealed record Roofline(double BytesPerSecond, double FlopsPerSecond)
{
    private const int Passes = 7;
    private const int FloatsPerThread = 96 << 20;
    private const int FmaRounds = 4_000_000;

    public static Roofline Measure(int threads) => new(
        BestOf(threads, index => new float[FloatsPerThread / threads], ReadAll, buffer => (double)buffer.Length * sizeof(float)),
        BestOf(threads, _ => new float[16], MultiplyAdd, _ => (double)FmaRounds * 12 * 2 * Vector512<float>.Count));

    private static double BestOf(int threads, Func<int, float[]> make, Action<float[]> work, Func<float[], double> amount)
    {
        double best = 0;
        using var start = new Barrier(threads + 1);
        using var end = new Barrier(threads + 1);
        double total = 0;
        var workers = new Thread[threads];
        var buffers = new float[threads][];
        for (int t = 0; t < threads; t++)
        {
            int index = t;
            workers[t] = new Thread(() =>
            {
                buffers[index] = make(index);
                Array.Fill(buffers[index], 1.0001f);
                for (int pass = 0; pass < Passes; pass++)
                {
                    start.SignalAndWait();
                    work(buffers[index]);
                    end.SignalAndWait();
                }
            });
            workers[t].Start();
        }

        for (int pass = 0; pass < Passes; pass++)
        {
            start.SignalAndWait();
            long began = Stopwatch.GetTimestamp();
            end.SignalAndWait();
            double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            total = buffers.Sum(amount);
            best = Math.Max(best, total / seconds);
        }

        foreach (Thread worker in workers)
            worker.Join();
        return best;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ReadAll(float[] buffer)
    {
        ref float first = ref MemoryMarshal.GetArrayDataReference(buffer);
        Vector512<float> a = default, b = default, c = default, d = default;
        for (nuint i = 0; i + 64 <= (nuint)buffer.Length; i += 64)
        {
            a += Vector512.LoadUnsafe(ref first, i);
            b += Vector512.LoadUnsafe(ref first, i + 16);
            c += Vector512.LoadUnsafe(ref first, i + 32);
            d += Vector512.LoadUnsafe(ref first, i + 48);
        }

        Consume(Vector512.Sum(a + b + c + d));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MultiplyAdd(float[] seed)
    {
        Vector512<float> x = Vector512.Create(seed[0]), y = Vector512.Create(0.9999f);
        Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int round = 0; round < FmaRounds; round++)
        {
            a = Vector512.FusedMultiplyAdd(a, y, x);
            b = Vector512.FusedMultiplyAdd(b, y, x);
            c = Vector512.FusedMultiplyAdd(c, y, x);
            d = Vector512.FusedMultiplyAdd(d, y, x);
            e = Vector512.FusedMultiplyAdd(e, y, x);
            f = Vector512.FusedMultiplyAdd(f, y, x);
            g = Vector512.FusedMultiplyAdd(g, y, x);
            h = Vector512.FusedMultiplyAdd(h, y, x);
            i = Vector512.FusedMultiplyAdd(i, y, x);
            j = Vector512.FusedMultiplyAdd(j, y, x);
            k = Vector512.FusedMultiplyAdd(k, y, x);
            l = Vector512.FusedMultiplyAdd(l, y, x);
        }

        Consume(Vector512.Sum(a + b + c + d + e + f + g + h + i + j + k + l));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Consume(float value) => _ = value;
}
