using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Adds one row to every row of x.</summary>
/// <remarks>Bound by memory: 8 bytes an element for one flop; the bias stays in L1.</remarks>
internal static unsafe class AddBias
{
    private struct Job
    {
        public float* X;
        public byte* Bias;
        public long XStride;
        public int Rows, Columns;
        public int RowsEach, Ticket;
    }

    /// <summary>Adds; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor x, in Tensor bias)
    {
        var job = new Job
        {
            X = (float*)x.Address,
            XStride = x.RowStride,
            Bias = (byte*)bias.Address,
            Rows = x.Rows,
            Columns = x.Columns,
            RowsEach = Tickets.RowsEach(x.Rows, host.Workers),
        };
        host.Run(Select(host.Path, bias.Type), &job, (long)x.Rows * x.Columns / 8);
    }

    private static delegate*<void*, int, void> Select(SimdPath path, DType bias) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(bias),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(bias),
        _ => Select<Simd128, Vector128<float>>(bias),
    };

    private static delegate*<void*, int, void> Select<S, V>(DType bias) where S : struct, ISimd<V> where V : struct => bias switch
    {
        DType.F32 => &Work<S, V, F32Element>,
        DType.F16 => &Work<S, V, F16Element>,
        _ => &Work<S, V, BF16Element>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Work<S, V, E>(void* state, int worker) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        ref Job job = ref *(Job*)state;
        for (int first; (first = Tickets.Take(ref job.Ticket, job.RowsEach)) < job.Rows;)
        {
            for (int row = first; row < Math.Min(first + job.RowsEach, job.Rows); row++)
            {
                float* x = job.X + row * job.XStride;
                int i = 0;
                for (; i <= job.Columns - S.Width; i += S.Width)
                    S.Store(x + i, S.Add(S.Load(x + i), E.Load<S, V>(job.Bias + i * E.Size)));
                int rest = job.Columns - i;
                if (rest > 0)
                    S.StorePartial(x + i, S.Add(S.LoadPartial(x + i, rest), Ragged.Load<S, V, E>(job.Bias + i * E.Size, rest)), rest);
            }
        }
    }
}
