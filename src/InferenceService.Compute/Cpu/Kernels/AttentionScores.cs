using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Queries against the packed keys of a tile, the sinks by queries of their own where there are any.</summary>
/// <remarks>
/// StreamingLLM (arXiv:2309.17453) numbers positions inside the cache. Keys stay rotated at their position in the text here, and a
/// second query, rotated as if it stood at the end of a full cache, meets the sinks: rotary scores depend on differences of positions
/// only, so both give the same scores.
/// </remarks>
internal static unsafe class AttentionScores
{
    private const int MostLines = 6; // of a tile, in any instruction set

    /// <summary>Notes where the queries of <paramref name="lines"/> lines begin: all query heads of a KV head, row after row.</summary>
    public static void Point(in PagedAttention.Job job, int firstRow, int head, int lines, in AttentionScratch scratch)
    {
        for (int line = 0; line < lines; line++)
        {
            int row = firstRow + line / job.Group;
            long column = (long)(head * job.Group + line % job.Group) * job.Cache.HeadDim;
            scratch.Q[line] = job.Q + row * job.QStride + column;
            if (job.SinkQ != null)
                scratch.SinkQ[line] = job.SinkQ + row * job.SinkQStride + column;
        }
    }

    /// <summary>scores[i][key] = q·k, unscaled and unmasked, for lines [line, line + count).</summary>
    /// <param name="count">1 to <see cref="ISimd{V}.TileRows"/>.</param>
    /// <param name="scores">Lines <see cref="PagedAttention.KeyTile"/> floats apart.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Products<S, V>(in PagedAttention.Job job, in KvLane lane, int tile, in AttentionScratch scratch, int line, int count, float* scores)
        where S : struct, ISimd<V> where V : struct
    {
        for (int key = 0; key < PagedAttention.KeyTile; key += AttentionTile.Vectors * S.Width)
            AttentionTile.Scores<S, V>(scratch.Q + line, scratch.Keys + key, job.Cache.HeadDim, scores + key, count);
        if (job.SinkQ != null && tile < lane.Sinks)
            Sinks<S, V>(scratch.SinkQ + line, scratch.Keys, job.Cache.HeadDim, lane.Sinks - tile, count, scores);
    }

    /// <summary>Replaces the scores of the first <paramref name="sinks"/> keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Sinks<S, V>(float** q, float* keys, int headDim, int sinks, int count, float* scores) where S : struct, ISimd<V> where V : struct
    {
        float* second = stackalloc float[MostLines * PagedAttention.KeyTile];
        for (int key = 0; key < Math.Min(sinks, PagedAttention.KeyTile); key += AttentionTile.Vectors * S.Width)
        {
            AttentionTile.Scores<S, V>(q, keys + key, headDim, second + key, count);
            for (int line = 0; line < count; line++)
            {
                for (int i = key; i < key + AttentionTile.Vectors * S.Width; i += S.Width)
                {
                    float* score = scores + line * PagedAttention.KeyTile + i;
                    S.Store(score, S.KeepLanes(S.Load(second + line * PagedAttention.KeyTile + i), 0, sinks - i, S.Load(score)));
                }
            }
        }
    }
}
