using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Rounds K and V of the step's rows to the pool's type and puts them into their slots.</summary>
/// <remarks>Bound by memory: reads 4 bytes an element, writes 2 or 4 into scattered rows.</remarks>
internal static unsafe class WriteKv
{
    private struct Job
    {
        public KvView Cache;
        public float* K, V;
        public long KStride, VStride;
        public int Rows;
        public int RowsEach, Ticket;
    }

    /// <summary>Writes; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor k, in Tensor v, in PagedKv cache)
    {
        var job = new Job
        {
            Cache = KvView.Of(cache, k.Rows),
            K = (float*)k.Address,
            KStride = k.RowStride,
            V = (float*)v.Address,
            VStride = v.RowStride,
        };
        job.Cache.CheckWritable();
        job.Rows = job.Cache.RowStarts[job.Cache.Sequences];
        job.RowsEach = Tickets.RowsEach(job.Rows, host.Workers);
        host.Run(Select(host.Path, cache.Batch.Format.Type), &job, (long)job.Rows * k.Columns / 4);
    }

    private static delegate*<void*, int, void> Select(SimdPath path, DType type) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(type),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(type),
        _ => Select<Simd128, Vector128<float>>(type),
    };

    private static delegate*<void*, int, void> Select<S, V>(DType type) where S : struct, ISimd<V> where V : struct => type switch
    {
        DType.F32 => &Work<S, V, F32Element>,
        DType.F16 => &Work<S, V, F16Element>,
        _ => &Work<S, V, BF16Element>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Work<S, V, E>(void* state, int worker) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        ref Job job = ref *(Job*)state;
        int sequence = 0; // tickets only grow, so the search goes on where it stopped
        for (int first; (first = Tickets.Take(ref job.Ticket, job.RowsEach)) < job.Rows;)
        {
            for (int row = Math.Max(first, job.Cache.RowStarts[0]); row < Math.Min(first + job.RowsEach, job.Rows); row++)
            {
                while (row >= job.Cache.RowStarts[sequence + 1])
                    sequence++;
                Row<S, V, E>(job, sequence, row);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Row<S, V, E>(in Job job, int sequence, int row) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int headDim = job.Cache.HeadDim;
        float* k = job.K + row * job.KStride, v = job.V + row * job.VStride;
        for (int head = 0; head < job.Cache.KvHeads; head++)
        {
            KvLane lane = job.Cache.Lane(sequence, head);
            byte* key = job.Cache.Key(lane, lane.Length + row - job.Cache.RowStarts[sequence]);
            Narrow<S, V, E>(k + (long)head * headDim, key, headDim);
            Narrow<S, V, E>(v + (long)head * headDim, key + job.Cache.HalfLaneBytes, headDim);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Narrow<S, V, E>(float* source, byte* target, int count) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int i = 0;
        for (; i <= count - S.Width; i += S.Width)
            E.Store<S, V>(target + i * E.Size, S.Load(source + i));
        if (i < count)
            Ragged.Store<S, V, E>(target + i * E.Size, S.LoadPartial(source + i, count - i), count - i);
    }
}
