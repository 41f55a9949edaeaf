using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Rotates pairs (i, i + half) of every head by the row's angles.</summary>
/// <remarks>Bound by memory: 8 bytes an element for 3 flops; a row's cosines and sines serve all its heads.</remarks>
internal static unsafe class Rope
{
    private struct Job
    {
        public float* X, CosSin;
        public long XStride, CosSinStride;
        public int Rows, Columns, HeadDim, Half;
        public int RowsEach, Ticket;
    }

    /// <summary>Rotates in place; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor x, in Tensor cosSin, int headDim)
    {
        var job = new Job
        {
            X = (float*)x.Address,
            XStride = x.RowStride,
            CosSin = (float*)cosSin.Address,
            CosSinStride = cosSin.RowStride,
            Rows = x.Rows,
            Columns = x.Columns,
            HeadDim = headDim,
            Half = cosSin.Columns / 2,
            RowsEach = Tickets.RowsEach(x.Rows, host.Workers),
        };
        host.Run(Select(host.Path), &job, (long)x.Rows * x.Columns / 4);
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
        for (int first; (first = Tickets.Take(ref job.Ticket, job.RowsEach)) < job.Rows;)
        {
            for (int row = first; row < Math.Min(first + job.RowsEach, job.Rows); row++)
            {
                float* x = job.X + row * job.XStride, cosSin = job.CosSin + row * job.CosSinStride;
                for (int head = 0; head < job.Columns; head += job.HeadDim)
                    Rotate<S, V>(x + head, x + head + job.Half, cosSin, cosSin + job.Half, job.Half);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rotate<S, V>(float* a, float* b, float* cos, float* sin, int count) where S : struct, ISimd<V> where V : struct
    {
        int i = 0;
        for (; i <= count - S.Width; i += S.Width)
        {
            V x = S.Load(a + i), y = S.Load(b + i), c = S.Load(cos + i), s = S.Load(sin + i);
            S.Store(a + i, S.Subtract(S.Multiply(x, c), S.Multiply(y, s)));
            S.Store(b + i, S.MultiplyAdd(y, c, S.Multiply(x, s)));
        }

        int rest = count - i;
        if (rest > 0)
        {
            V x = S.LoadPartial(a + i, rest), y = S.LoadPartial(b + i, rest), c = S.LoadPartial(cos + i, rest), s = S.LoadPartial(sin + i, rest);
            S.StorePartial(a + i, S.Subtract(S.Multiply(x, c), S.Multiply(y, s)), rest);
            S.StorePartial(b + i, S.MultiplyAdd(y, c, S.Multiply(x, s)), rest);
        }
    }
}
