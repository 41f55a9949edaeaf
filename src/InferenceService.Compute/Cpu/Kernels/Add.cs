using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>residual += x.</summary>
/// <remarks>Bound by memory: 12 bytes an element for one flop.</remarks>
internal static unsafe class Add
{
    private struct Job
    {
        public float* X, Residual;
        public long XStride, ResidualStride;
        public int Rows, Columns;
        public int RowsEach, Ticket;
    }

    /// <summary>Adds; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor x, in Tensor residual)
    {
        var job = new Job
        {
            X = (float*)x.Address,
            XStride = x.RowStride,
            Residual = (float*)residual.Address,
            ResidualStride = residual.RowStride,
            Rows = x.Rows,
            Columns = x.Columns,
            RowsEach = Tickets.RowsEach(x.Rows, host.Workers),
        };
        host.Run(Select(host.Path), &job, (long)x.Rows * x.Columns / 8);
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
                Row<S, V>(job.X + row * job.XStride, job.Residual + row * job.ResidualStride, job.Columns);
        }
    }

    /// <summary>residual += x over one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Row<S, V>(float* x, float* residual, int count) where S : struct, ISimd<V> where V : struct
    {
        int i = 0;
        for (; i <= count - S.Width; i += S.Width)
            S.Store(residual + i, S.Add(S.Load(residual + i), S.Load(x + i)));
        if (i < count)
            S.StorePartial(residual + i, S.Add(S.LoadPartial(residual + i, count - i), S.LoadPartial(x + i, count - i)), count - i);
    }
}
