using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>x / √(mean(x²) + ε) · weight over runs of columns, optionally after adding another row to x.</summary>
/// <remarks>Bound by memory: 8 to 16 bytes an element for about 4 flops; in a decode step everything is in L1.</remarks>
internal static unsafe class RmsNorm
{
    private struct Job
    {
        public float* Addend; // null: nothing to add
        public float* X;
        public byte* Weight;
        public float* Output;
        public long AddendStride, XStride, OutputStride;
        public int Rows, Columns, Run;
        public float Epsilon;
        public int RowsEach, Ticket;
    }

    /// <summary>output = norm(x), shapes checked by the caller; with an addend first x += addend.</summary>
    public static void Run(KernelHost host, in Tensor? addend, in Tensor x, in Tensor weight, float epsilon, in Tensor output)
    {
        var job = new Job
        {
            Addend = addend is { } a ? (float*)a.Address : null,
            AddendStride = addend is { } b ? b.RowStride : 0,
            X = (float*)x.Address,
            XStride = x.RowStride,
            Weight = (byte*)weight.Address,
            Output = (float*)output.Address,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Columns = x.Columns,
            Run = weight.Columns,
            Epsilon = epsilon,
            RowsEach = Tickets.RowsEach(x.Rows, host.Workers),
        };
        host.Run(Select(host.Path, weight.Type), &job, (long)x.Rows * x.Columns / 4);
    }

    private static delegate*<void*, int, void> Select(SimdPath path, DType weight) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(weight),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(weight),
        _ => Select<Simd128, Vector128<float>>(weight),
    };

    private static delegate*<void*, int, void> Select<S, V>(DType weight) where S : struct, ISimd<V> where V : struct => weight switch
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
                float* x = job.X + row * job.XStride, output = job.Output + row * job.OutputStride;
                if (job.Addend != null)
                    Add.Row<S, V>(job.Addend + row * job.AddendStride, x, job.Columns);
                for (int column = 0; column < job.Columns; column += job.Run)
                    Normalise<S, V, E>(x + column, job.Weight, output + column, job.Run, job.Epsilon);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Normalise<S, V, E>(float* x, byte* weight, float* output, int count, float epsilon)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int whole = count - count % S.Width, rest = count - whole;
        V squares = S.Zero;
        for (int i = 0; i < whole; i += S.Width)
        {
            V value = S.Load(x + i);
            squares = S.MultiplyAdd(value, value, squares);
        }

        float sum = S.Sum(squares);
        if (rest > 0)
        {
            V value = S.LoadPartial(x + whole, rest);
            sum += S.Sum(S.Multiply(value, value));
        }

        V factor = S.Broadcast(1f / MathF.Sqrt(sum / count + epsilon));
        for (int i = 0; i < whole; i += S.Width)
            S.Store(output + i, S.Multiply(S.Multiply(S.Load(x + i), factor), E.Load<S, V>(weight + i * E.Size)));
        if (rest > 0)
        {
            V last = S.Multiply(S.Multiply(S.LoadPartial(x + whole, rest), factor), Ragged.Load<S, V, E>(weight + whole * E.Size, rest));
            S.StorePartial(output + whole, last, rest);
        }
    }
}
