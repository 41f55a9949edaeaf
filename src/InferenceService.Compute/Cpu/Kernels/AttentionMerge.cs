using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Merges the states of spans, always in slot order, and writes rows out.</summary>
internal static unsafe class AttentionMerge
{
    /// <summary>The second phase when spans were tasks.</summary>
    public static delegate*<void*, int, void> Select(SimdPath path) => path switch
    {
        SimdPath.Avx512 => &Work<Simd512, Vector512<float>>,
        SimdPath.Avx2 => &Work<Simd256, Vector256<float>>,
        _ => &Work<Simd128, Vector128<float>>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Work<S, V>(void* state, int worker) where S : struct, ISimd<V> where V : struct
    {
        ref PagedAttention.Job job = ref *(PagedAttention.Job*)state;
        var total = new AttentionScratch(job, worker, null);
        AttentionScratch part = total;
        var cursor = new AttentionCursor(job);
        for (int task; (task = Tickets.Take(ref job.Ticket, job.MaxSpans)) < job.Tasks;)
        {
            AttentionBlock block = cursor.Find(job, task);
            total.UseState(job.States + task * job.StateFloats, job);
            for (int index = 1; index < block.Spans; index++)
            {
                part.UseState(job.States + (task + index) * job.StateFloats, job);
                Into<S, V>(total, part, block.Lines, job.ValueStride);
            }

            Write<S, V>(job, block, total);
        }
    }

    /// <summary>Adds the state of a later span.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Into<S, V>(in AttentionScratch total, in AttentionScratch part, int lines, int stride) where S : struct, ISimd<V> where V : struct
    {
        for (int line = 0; line < lines; line++)
        {
            float maximum = Math.Max(total.Maximum[line], part.Maximum[line]);
            float a = AttentionSoftmax.Scalar<S, V>(total.Maximum[line] - maximum), b = AttentionSoftmax.Scalar<S, V>(part.Maximum[line] - maximum);
            total.Maximum[line] = maximum;
            total.Sum[line] = total.Sum[line] * a + part.Sum[line] * b;
            total.Range[line] = total.Range[line] * a + part.Range[line] * b;
            float* to = total.Output + (long)line * stride, from = part.Output + (long)line * stride;
            for (int d = 0; d < stride; d += S.Width)
                S.Store(to + d, S.MultiplyAdd(S.Load(to + d), S.Broadcast(a), S.Multiply(S.Load(from + d), S.Broadcast(b))));
        }
    }

    /// <summary>Divides by the sums and writes the rows; a line that saw nothing becomes zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Write<S, V>(in PagedAttention.Job job, in AttentionBlock block, in AttentionScratch state) where S : struct, ISimd<V> where V : struct
    {
        int headDim = job.Cache.HeadDim;
        for (int line = 0; line < block.Lines; line++)
        {
            int row = block.FirstRow + line / job.Group, head = block.Head * job.Group + line % job.Group;
            float* target = job.Output + row * job.OutputStride + (long)head * headDim;
            float* source = state.Output + (long)line * job.ValueStride;
            float sum = state.Sum[line];
            if (job.Statistics != null)
            {
                float* statistic = job.Statistics + PagedAttention.StatisticFloats * ((long)row * job.Group * job.Cache.KvHeads + head);
                statistic[0] = state.Maximum[line];
                statistic[1] = sum;
                statistic[2] = state.Range[line];
            }

            if (sum == 0)
            {
                new Span<float>(target, headDim).Clear();
                continue;
            }

            V divisor = S.Broadcast(sum);
            int d = 0;
            for (; d <= headDim - S.Width; d += S.Width)
                S.Store(target + d, S.Divide(S.Load(source + d), divisor));
            if (d < headDim)
                S.StorePartial(target + d, S.Divide(S.Load(source + d), divisor), headDim - d);
        }
    }
}
