using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Generated;
using InferenceService.Compute.Cpu.Kernels;
using InferenceService.Compute.Cpu.Simd;
using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Compute.Cpu;

/// <summary>How fast the machine can multiply and add at best: what prefill is measured against.</summary>
public static unsafe class Arithmetic
{
    private const int Rounds = 20_000; // of a few nanoseconds each
    private const int Shares = 20; // a thread that comes late does fewer
    private const int Chains = 12; // latency 4, two units a cycle: eight would do

    private struct Job
    {
        public int Ticket, Shares;
        public float Sink; // keeps the sums alive
    }

    private struct DotJob
    {
        public int Ticket, Shares;
        public nint Loop;
    }

    /// <summary>Binary32 operations per second (a fused multiply-add counts two) of all the backend's threads, best of several passes.</summary>
    public static double Peak(CpuBackend backend, int passes = 30)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentOutOfRangeException.ThrowIfLessThan(passes, 1);
        int width = backend.Path switch { SimdPath.Avx512 => 16, SimdPath.Avx2 => 8, _ => 4 };
        double best = 0;
        for (int pass = 0; pass <= passes; pass++)
        {
            var job = new Job { Shares = Shares * backend.Threads };
            long start = Stopwatch.GetTimestamp();
            backend.Host.Run(Select(backend.Path), &job, long.MaxValue);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (pass > 0)
                best = Math.Max(best, 2.0 * Rounds * Chains * width * job.Shares / seconds);
        }

        return best;
    }

    /// <summary>
    /// Operations per second (a product and its sum count two) of the generated dot products that a format uses, of all the backend's
    /// threads, best of several passes; 0 where the backend has none.
    /// </summary>
    public static double DotPeak(CpuBackend backend, WeightFormat format, int passes = 30)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentOutOfRangeException.ThrowIfLessThan(passes, 1);
        if (format == WeightFormat.Stored || backend.Kernels != KernelFamily.Avx512 || !GeneratedKernels.Has(format))
            return 0;
        var assembler = new PeakAssembler(bytes: format != WeightFormat.BF16);
        using ExecutableMemory? code = ExecutableMemory.TryCreate(assembler.Assemble());
        if (code is null)
            return 0;
        double best = 0;
        for (int pass = 0; pass <= passes; pass++)
        {
            var job = new DotJob { Shares = Shares * backend.Threads, Loop = code.Address };
            long start = Stopwatch.GetTimestamp();
            backend.Host.Run(&Dots, &job, long.MaxValue);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (pass > 0)
                best = Math.Max(best, (double)assembler.OperationsPerTurn * Rounds * job.Shares / seconds);
        }

        return best;
    }

    private static void Dots(void* state, int worker)
    {
        ref DotJob job = ref *(DotJob*)state;
        var arguments = new TileArguments { Columns = Rounds };
        while (Tickets.Take(ref job.Ticket, 1) < job.Shares)
            ((delegate* unmanaged[SuppressGCTransition]<TileArguments*, void>)job.Loop)(&arguments);
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
        V x = S.Broadcast(0.999f), y = S.Broadcast(0.5f);
        V a = y, b = y, c = y, d = y, e = y, f = y, g = y, h = y, i = y, j = y, k = y, l = y;
        ref Job job = ref *(Job*)state;
        while (Tickets.Take(ref job.Ticket, 1) < job.Shares)
        {
            for (int round = 0; round < Rounds; round++)
            {
                a = S.MultiplyAdd(a, x, y);
                b = S.MultiplyAdd(b, x, y);
                c = S.MultiplyAdd(c, x, y);
                d = S.MultiplyAdd(d, x, y);
                e = S.MultiplyAdd(e, x, y);
                f = S.MultiplyAdd(f, x, y);
                g = S.MultiplyAdd(g, x, y);
                h = S.MultiplyAdd(h, x, y);
                i = S.MultiplyAdd(i, x, y);
                j = S.MultiplyAdd(j, x, y);
                k = S.MultiplyAdd(k, x, y);
                l = S.MultiplyAdd(l, x, y);
            }
        }

        V sum = S.Add(S.Add(S.Add(a, b), S.Add(c, d)), S.Add(S.Add(e, f), S.Add(g, h)));
        Volatile.Write(ref job.Sink, S.Sum(S.Add(sum, S.Add(S.Add(i, j), S.Add(k, l)))));
    }
}
