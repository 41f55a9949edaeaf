using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Sums over the rows of the attention matrix, all of it or a band: a second pass over the keys, once the rows' maxima and sums are known.</summary>
/// <remarks>
/// A task owns one tile of one KV head's sums. Rows are added in order, each as one number (the mean over the query heads), so the
/// sums have the same bits however a prompt was chunked. 2·headDim flops per observed (line, slot), paid only when a policy asks.
/// </remarks>
internal static unsafe class AttentionColumns
{
    private struct Job
    {
        public PagedAttention.Job Attention;
        public int MaxTiles;
        public int Tasks, Ticket;
    }

    /// <summary>What one task adds up: a tile of slots and the observed rows.</summary>
    private readonly struct Part
    {
        public required AttentionBlock Rows { get; init; }

        public required int Tile { get; init; }

        /// <summary>First slot that no row sees any more, or the end of the tile.</summary>
        public required int To { get; init; }

        public required int Band { get; init; }

        /// <summary>Sums of slot <see cref="Tile"/>; null when not wanted.</summary>
        public required float* ColumnSums { get; init; }

        public required float* BandSums { get; init; }

        /// <summary>The query heads are wanted one by one, too.</summary>
        public required bool Heads { get; init; }
    }

    /// <summary>Accumulates the sums of the attention that has just run.</summary>
    public static void Run(KernelHost host, in PagedAttention.Job attention, DType type)
    {
        var job = new Job { Attention = attention };
        int slots = 0;
        for (int s = 0; s < attention.Cache.Sequences; s++)
        {
            int rows = attention.Cache.RowsOf(s);
            for (int head = 0; head < attention.Cache.KvHeads && rows > 0 && Wanted(attention, s) != AttentionSums.None; head++)
                slots = Math.Max(slots, attention.Cache.Lane(s, head).Length + rows);
        }

        job.MaxTiles = (slots + PagedAttention.KeyTile - 1) / PagedAttention.KeyTile;
        job.Tasks = attention.Cache.Sequences * attention.Cache.KvHeads * job.MaxTiles;
        host.Run(Select(host.Path, type), &job, long.MaxValue);
    }

    private static AttentionSums Wanted(in PagedAttention.Job job, int sequence) =>
        job.Watch.Of(sequence) & (AttentionSums.Columns | AttentionSums.Band);

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
        float** q = stackalloc float*[2 * job.Attention.Lines];
        var scratch = new AttentionScratch(job.Attention, worker, q);
        for (int task; (task = Tickets.Take(ref job.Ticket, 1)) < job.Tasks;)
        {
            int tile = task % job.MaxTiles * PagedAttention.KeyTile, head = task / job.MaxTiles % job.Attention.Cache.KvHeads;
            int sequence = task / job.MaxTiles / job.Attention.Cache.KvHeads;
            if (job.Attention.Cache.RowsOf(sequence) > 0 && Wanted(job.Attention, sequence) != AttentionSums.None)
                Tile<S, V, E>(job.Attention, sequence, head, tile, scratch);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<S, V, E>(in PagedAttention.Job job, int sequence, int head, int tile, in AttentionScratch scratch)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int rows = job.Cache.RowsOf(sequence), first = job.Watch.FirstRow(sequence, job.Cache.Lane(sequence, head));
        if (first >= rows)
            return;
        var block = AttentionBlock.Of(job, sequence, head, first, rows - first);
        AttentionSums wanted = Wanted(job, sequence);
        int band = job.Watch.Band(sequence), from = Math.Max(tile, block.SeenFrom), to = Math.Min(tile + PagedAttention.KeyTile, block.SeenTo);
        if (wanted == AttentionSums.Band)
            from = Math.Max(from, block.Lane.Length + first + 1 - band);
        if (from >= to || block.Lane.IsDead(from, to))
            return;
        AttentionPack.Keys<S, V, E>(job.Cache, block.Lane, tile, from, to, scratch.Keys, scratch.Gather);
        long row = job.Watch.Row(sequence, head);
        var part = new Part
        {
            Rows = block,
            Tile = tile,
            To = to,
            Band = band,
            ColumnSums = (wanted & AttentionSums.Columns) != 0 ? job.Watch.ColumnSums + row * job.Watch.ColumnStride + tile : null,
            BandSums = (wanted & AttentionSums.Band) != 0 ? job.Watch.BandSums + row * job.Watch.BandStride + tile : null,
            Heads = (job.Watch.Of(sequence) & AttentionSums.Heads) != 0,
        };
        int each = Math.Min(Math.Max(1, S.TileRows / job.Group), job.RowsEach);
        for (int start = first; start < rows; start += each)
        {
            int count = Math.Min(each, rows - start);
            if (job.SeenFrom(block.Lane, start) < to && job.SeenTo(block.Lane, start + count - 1) > from)
                Rows<S, V>(job, part, start, count, scratch);
        }
    }

    /// <summary>Adds the weights of a few rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows<S, V>(in PagedAttention.Job job, in Part part, int start, int count, in AttentionScratch scratch)
        where S : struct, ISimd<V> where V : struct
    {
        KvLane lane = part.Rows.Lane;
        int firstRow = job.Cache.RowStarts[part.Rows.Sequence] + start, head = part.Rows.Head, lines = count * job.Group;
        AttentionScores.Point(job, firstRow, head, lines, scratch);
        for (int line = 0; line < lines; line += S.TileRows)
        {
            int together = Math.Min(S.TileRows, lines - line);
            AttentionScores.Products<S, V>(job, lane, part.Tile, scratch, line, together, scratch.Scores + (long)line * PagedAttention.KeyTile);
        }

        for (int i = 0; i < count; i++)
        {
            float* statistic = job.Statistics + PagedAttention.StatisticFloats * ((long)(firstRow + i) * job.Cache.KvHeads + head) * job.Group;
            if (statistic[1] == 0)
                continue; // saw nothing
            float* scores = scratch.Scores + (long)i * job.Group * PagedAttention.KeyTile;
            var seen = new SeenKeys(job, lane, start + i, part.Tile);
            for (int g = 0; g < job.Group; g++, statistic += PagedAttention.StatisticFloats)
                AttentionSoftmax.Finish<S, V>(scores + (long)g * PagedAttention.KeyTile, seen, job.Scale, statistic[0], statistic[1]);
            int bandFrom = lane.Length + start + i + 1 - part.Band - part.Tile;
            if (part.Heads)
                EachHead<S, V>(job, part, scores, bandFrom);
            Mean<S, V>(scores, job.Group);
            if (part.ColumnSums != null)
                Add<S, V>(scores, 0, part.ColumnSums, part.To - part.Tile);
            if (part.BandSums != null)
                Add<S, V>(scores, bandFrom, part.BandSums, part.To - part.Tile);
        }
    }

    /// <summary>The weights of each query head to its own sums.</summary>
    private static void EachHead<S, V>(in PagedAttention.Job job, in Part part, float* scores, int bandFrom) where S : struct, ISimd<V> where V : struct
    {
        for (int g = 0; g < job.Group; g++, scores += PagedAttention.KeyTile)
        {
            long row = (1L + g) * job.Watch.HeadRows;
            if (part.ColumnSums != null)
                Add<S, V>(scores, 0, part.ColumnSums + row * job.Watch.ColumnStride, part.To - part.Tile);
            if (part.BandSums != null)
                Add<S, V>(scores, bandFrom, part.BandSums + row * job.Watch.BandStride, part.To - part.Tile);
        }
    }

    /// <summary>The mean over the query heads, in place of the first.</summary>
    private static void Mean<S, V>(float* scores, int group) where S : struct, ISimd<V> where V : struct
    {
        V part = S.Broadcast(1f / group);
        for (int i = 0; i < PagedAttention.KeyTile; i += S.Width)
        {
            V weight = S.Load(scores + i);
            for (int g = 1; g < group; g++)
                weight = S.Add(weight, S.Load(scores + (long)g * PagedAttention.KeyTile + i));
            S.Store(scores + i, S.Multiply(weight, part));
        }
    }

    /// <summary>Adds the weights of places [from, count) to their sums.</summary>
    private static void Add<S, V>(float* weights, int from, float* sums, int count) where S : struct, ISimd<V> where V : struct
    {
        for (int i = Math.Max(0, from) / S.Width * S.Width; i < count; i += S.Width)
        {
            int rest = Math.Min(S.Width, count - i);
            V weight = S.KeepLanes(S.Load(weights + i), from - i, S.Width, S.Zero);
            S.StorePartial(sums + i, S.Add(S.LoadPartial(sums + i, rest), weight), rest);
        }
    }
}
