using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Column sums of the attention matrix: a second pass over the keys, once the rows' maxima and sums are known.</summary>
/// <remarks>
/// A task owns one tile of one KV head's sums. Rows are added in order, each as one number (the mean over the query heads), so the
/// sums have the same bits however a prompt was chunked. 2·headDim flops per (line, slot), paid only when a policy asks.
/// </remarks>
internal static unsafe class AttentionColumns
{
    private struct Job
    {
        public PagedAttention.Job Attention;
        public float* Sums;
        public int* SequenceRow;
        public long SumsStride;
        public int LayerRow, MaxTiles;
        public int Tasks, Ticket;
    }

    /// <summary>Accumulates the sums of the attention that has just run.</summary>
    /// <exception cref="ShapeException">An observed sequence's row or slots leave the tensor of sums.</exception>
    public static void Run(KernelHost host, in PagedAttention.Job attention, in PagedKv cache, in AttentionProbe probe)
    {
        int sequences = cache.Batch.Sequences, heads = cache.LaneGroup.Columns;
        var job = new Job
        {
            Attention = attention,
            Sums = (float*)probe.ColumnSums.Address,
            SumsStride = probe.ColumnSums.RowStride,
            SequenceRow = (int*)probe.SequenceRow.Address,
            LayerRow = probe.LayerRow,
        };
        int slots = 0;
        for (int s = 0; s < sequences; s++)
        {
            if (job.SequenceRow[s] < 0 || attention.Cache.RowsOf(s) == 0)
                continue;
            for (int head = 0; head < heads; head++)
            {
                int end = attention.Cache.Lane(s, head).Length + attention.Cache.RowsOf(s);
                if ((long)job.SequenceRow[s] + probe.LayerRow + head >= probe.ColumnSums.Rows || end > probe.ColumnSums.Columns)
                {
                    throw new ShapeException(
                        $"Sums of sequence {s} need row {job.SequenceRow[s]} + {probe.LayerRow} + {head} and {end} slots "
                        + $"of [{probe.ColumnSums.Rows}, {probe.ColumnSums.Columns}].");
                }

                slots = Math.Max(slots, end);
            }
        }

        job.MaxTiles = (slots + PagedAttention.KeyTile - 1) / PagedAttention.KeyTile;
        job.Tasks = sequences * heads * job.MaxTiles;
        host.Run(Select(host.Path, cache.Batch.Format.Type), &job, long.MaxValue);
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
        float** q = stackalloc float*[job.Attention.Lines];
        var scratch = new AttentionScratch(job.Attention, worker, q);
        for (int task; (task = Tickets.Take(ref job.Ticket, 1)) < job.Tasks;)
        {
            int tile = task % job.MaxTiles * PagedAttention.KeyTile, head = task / job.MaxTiles % job.Attention.Cache.KvHeads;
            int sequence = task / job.MaxTiles / job.Attention.Cache.KvHeads;
            if (job.SequenceRow[sequence] >= 0 && job.Attention.Cache.RowsOf(sequence) > 0)
                Tile<S, V, E>(job, sequence, head, tile, scratch);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<S, V, E>(in Job job, int sequence, int head, int tile, in AttentionScratch scratch)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        ref readonly PagedAttention.Job attention = ref job.Attention;
        KvLane lane = attention.Cache.Lane(sequence, head);
        int rows = attention.Cache.RowsOf(sequence);
        int from = Math.Max(tile, attention.SeenFrom(lane, 0));
        int to = Math.Min(tile + PagedAttention.KeyTile, attention.SeenTo(lane, rows - 1));
        if (from >= to || (from >= lane.GapStart && to <= lane.GapEnd))
            return;
        AttentionPack.Keys<S, V, E>(attention.Cache, lane, tile, from, to, scratch.Keys, scratch.Gather);
        float* sums = job.Sums + ((long)job.SequenceRow[sequence] + job.LayerRow + head) * job.SumsStride + tile;
        for (int row = 0; row < rows; row++)
        {
            if (attention.SeenFrom(lane, row) < to && attention.SeenTo(lane, row) > from)
                Row<S, V>(attention, attention.Cache.RowStarts[sequence] + row, row, head, lane, tile, sums, to - tile, scratch);
        }
    }

    /// <summary>Adds one row's weights, averaged over the query heads, to the first <paramref name="count"/> sums of a tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row<S, V>(
        in PagedAttention.Job job, int row, int rowInSequence, int head, in KvLane lane, int tile, float* sums, int count, in AttentionScratch scratch)
        where S : struct, ISimd<V> where V : struct
    {
        float* q = job.Q + row * job.QStride + (long)head * job.Group * job.Cache.HeadDim;
        float* statistics = job.Statistics + 2 * ((long)row * job.Group * job.Cache.KvHeads + (long)head * job.Group);
        if (statistics[1] == 0)
            return;
        var seen = new SeenKeys(
            job.SeenFrom(lane, rowInSequence) - tile, job.SeenTo(lane, rowInSequence) - tile, lane.GapStart - tile, lane.GapEnd - tile);
        for (int g = 0; g < job.Group; g += S.TileRows)
        {
            int lines = Math.Min(S.TileRows, job.Group - g);
            float* scores = scratch.Scores + (long)g * PagedAttention.KeyTile;
            for (int i = 0; i < lines; i++)
                scratch.Q[i] = q + (long)(g + i) * job.Cache.HeadDim;
            for (int key = 0; key < PagedAttention.KeyTile; key += AttentionTile.Vectors * S.Width)
                AttentionTile.Scores<S, V>(scratch.Q, scratch.Keys + key, job.Cache.HeadDim, scores + key, lines);
            for (int i = 0; i < lines; i++)
                AttentionSoftmax.Finish<S, V>(
                    scores + (long)i * PagedAttention.KeyTile, seen, job.Scale, statistics[2 * (g + i)], statistics[2 * (g + i) + 1]);
        }

        V part = S.Broadcast(1f / job.Group);
        for (int i = 0; i < count; i += S.Width)
        {
            V weight = S.Load(scratch.Scores + i);
            for (int g = 1; g < job.Group; g++)
                weight = S.Add(weight, S.Load(scratch.Scores + (long)g * PagedAttention.KeyTile + i));
            weight = S.Multiply(weight, part);
            int rest = Math.Min(S.Width, count - i);
            S.StorePartial(sums + i, S.Add(S.LoadPartial(sums + i, rest), weight), rest);
        }
    }
}
