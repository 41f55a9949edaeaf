using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Gathers rows of a table and widens them.</summary>
/// <remarks>Bound by memory: reads 2 or 4 bytes an element from scattered rows, writes 4.</remarks>
internal static unsafe class Embed
{
    private struct Job
    {
        public byte* Table;
        public int* Ids;
        public float* Output;
        public long TableStrideBytes, OutputStride;
        public int Rows, Columns, Entries;
        public int RowsEach, Ticket;
    }

    /// <summary>Gathers; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor table, in Tensor ids, in Tensor output)
    {
        var job = new Job
        {
            Table = (byte*)table.Address,
            TableStrideBytes = table.RowBytes,
            Ids = (int*)ids.Address,
            Output = (float*)output.Address,
            OutputStride = output.RowStride,
            Rows = ids.Columns,
            Columns = table.Columns,
            Entries = table.Rows,
            RowsEach = Tickets.RowsEach(ids.Columns, host.Workers),
        };
        host.Run(Select(host.Path, table.Type), &job, (long)job.Rows * job.Columns / 8);
    }

    private static delegate*<void*, int, void> Select(SimdPath path, DType table) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(table),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(table),
        _ => Select<Simd128, Vector128<float>>(table),
    };

    private static delegate*<void*, int, void> Select<S, V>(DType table) where S : struct, ISimd<V> where V : struct => table switch
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
                int id = job.Ids[row];
                System.Diagnostics.Debug.Assert((uint)id < (uint)job.Entries, "The caller checks ids.");
                byte* entry = job.Table + id * job.TableStrideBytes;
                float* output = job.Output + row * job.OutputStride;
                int i = 0;
                for (; i <= job.Columns - S.Width; i += S.Width)
                    S.Store(output + i, E.Load<S, V>(entry + i * E.Size));
                if (i < job.Columns)
                    S.StorePartial(output + i, Ragged.Load<S, V, E>(entry + i * E.Size, job.Columns - i), job.Columns - i);
            }
        }
    }
}
