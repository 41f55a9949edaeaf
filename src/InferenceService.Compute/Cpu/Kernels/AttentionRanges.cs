using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Attention mass on a range of slots: a second running sum beside that of the softmax, so no second pass over the keys.</summary>
/// <remarks>
/// The running sum of a subset is the exponential of the subset's log-sum-exp, and both sums go through the same additions in the same
/// order, so that their quotient never exceeds 1. Costs a few vector steps per observed (line, tile).
/// </remarks>
internal static unsafe class AttentionRanges
{
    /// <summary>Adds a tile's weights to the running sums of the lines that are observed.</summary>
    /// <param name="factors">What earlier sums of lines [line, line + count) must be multiplied by.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Update<S, V>(
        in PagedAttention.Job job, in AttentionBlock block, in AttentionScratch scratch, int tile, int line, int count, float* factors)
        where S : struct, ISimd<V> where V : struct
    {
        if ((job.Watch.Of(block.Sequence) & AttentionSums.RangeMass) == 0)
            return;
        int before = job.Watch.SinkEnd(block.Sequence) - tile, after = job.Watch.RecentStart(block.Sequence) - tile;
        int firstRow = job.Watch.FirstRow(block.Sequence, block.Lane);
        for (int i = 0; i < count; i++)
        {
            if (block.RowInSequence + (line + i) / job.Group < firstRow)
                continue;
            float mass = AttentionSoftmax.Mass<S, V>(scratch.Scores + (long)(line + i) * PagedAttention.KeyTile, before, after);
            scratch.Range[line + i] = scratch.Range[line + i] * factors[i] + mass;
        }
    }

    /// <summary>Adds the observed rows' mass, averaged over the query heads, to the sums, row after row.</summary>
    public static void Add(in PagedAttention.Job job)
    {
        for (int s = 0; s < job.Cache.Sequences; s++)
        {
            int rows = job.Cache.RowsOf(s);
            if (rows == 0 || (job.Watch.Of(s) & AttentionSums.RangeMass) == 0)
                continue;
            for (int head = 0; head < job.Cache.KvHeads; head++)
            {
                KvLane lane = job.Cache.Lane(s, head);
                float total = job.Watch.RangeMass[job.Watch.Row(s, head) * job.Watch.RangeStride];
                for (int row = job.Watch.FirstRow(s, lane); row < rows; row++)
                    total += Mean(job, job.Cache.RowStarts[s] + row, head);
                job.Watch.RangeMass[job.Watch.Row(s, head) * job.Watch.RangeStride] = total;
            }
        }
    }

    private static float Mean(in PagedAttention.Job job, int row, int head)
    {
        float* statistic = job.Statistics + PagedAttention.StatisticFloats * ((long)row * job.Cache.KvHeads + head) * job.Group;
        float mass = 0;
        for (int g = 0; g < job.Group; g++, statistic += PagedAttention.StatisticFloats)
            mass += statistic[1] == 0 ? 0 : statistic[2] / statistic[1];
        return mass / job.Group;
    }
}
