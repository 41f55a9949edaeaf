using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Kernels;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu;

/// <summary>How fast the machine can read memory at best: what decoding is measured against.</summary>
public static unsafe class Bandwidth
{
    private const int StripeBytes = 1 << 20;

    private struct Job
    {
        public byte* Data;
        public int Stripes, Ticket;
        public float Sink; // keeps the loads alive
    }

    /// <summary>Bytes per second of the best of several passes: the machine's ceiling.</summary>
    /// <inheritdoc cref="Passes"/>
    public static double Read(CpuBackend backend, long bytes = 512L << 20, int passes = 7) => Passes(backend, bytes, passes).Max();

    /// <summary>Bytes per second of each of several passes of all the backend's threads over a buffer far larger than its caches.</summary>
    /// <remarks>A mean rate (decoding, over many steps) is held against their median: the best pass of a shared machine was luck.</remarks>
    /// <param name="backend">Whose threads and vector width to use.</param>
    /// <param name="bytes">Size of the buffer; it should be at least ten times the last-level cache.</param>
    /// <param name="passes">Passes measured, after one that touches every page.</param>
    public static double[] Passes(CpuBackend backend, long bytes = 512L << 20, int passes = 7)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentOutOfRangeException.ThrowIfLessThan(bytes, StripeBytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(passes, 1);
        using var buffer = new HostBuffer(bytes);
        int stripes = (int)(bytes / StripeBytes);
        for (int i = 0; i < stripes; i++)
            new Span<byte>((byte*)buffer.Address + (long)i * StripeBytes, StripeBytes).Fill(1); // else all pages are the one zero page

        var rates = new double[passes];
        for (int pass = 0; pass <= passes; pass++)
        {
            var job = new Job { Data = (byte*)buffer.Address, Stripes = stripes };
            long start = Stopwatch.GetTimestamp();
            backend.Host.Run(Select(backend.Path), &job, long.MaxValue);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (pass > 0)
                rates[pass - 1] = (double)stripes * StripeBytes / seconds;
        }

        return rates;
    }

    private static delegate*<void*, int, void> Select(SimdPath path) => path switch
    {
        SimdPath.Avx512 => &Work<Simd512, Vector512<float>>,
        SimdPath.Avx2 => &Work<Simd256, Vector256<float>>,
        _ => &Work<Simd128, Vector128<float>>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Work<S, V>(void* state, int worker) where S : struct, ISimd<V> where V : struct
    {
        ref Job job = ref *(Job*)state;
        V a = S.Zero, b = a, c = a, d = a;
        for (int stripe; (stripe = Tickets.Take(ref job.Ticket, 1)) < job.Stripes;)
        {
            float* data = (float*)(job.Data + (long)stripe * StripeBytes);
            for (nint i = 0; i < StripeBytes / sizeof(float); i += 4 * S.Width)
            {
                S.Prefetch(data + i + 1024);
                a = S.Add(a, S.Load(data + i));
                b = S.Add(b, S.Load(data + i + S.Width));
                c = S.Add(c, S.Load(data + i + 2 * S.Width));
                d = S.Add(d, S.Load(data + i + 3 * S.Width));
            }
        }

        Volatile.Write(ref job.Sink, S.Sum(S.Add(S.Add(a, b), S.Add(c, d))));
    }
}
