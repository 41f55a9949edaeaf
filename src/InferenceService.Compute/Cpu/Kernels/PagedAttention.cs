using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Softmax attention that reads keys and values where they lie, in the blocks of the pool.</summary>
/// <remarks>
/// <para>
/// Order, whatever the batch, the chunking or the threads: slots are cut into spans of <see cref="Span"/> and tiles of
/// <see cref="KeyTile"/> at fixed slot numbers. A row goes through the tiles of a span in order (scores over d in order, weights
/// relative to a running maximum, values over slots in order), each span from an empty state, and merges the spans in order. What a row
/// does not see has weight exactly 0 and changes nothing, so its bits depend on its own slots only: a prompt in chunks, after a prefix
/// hit or after preemption gives the same output.
/// </para>
/// <para>
/// A task is one KV head of one sequence with a block of rows; all query heads of the KV head go together (a line is one query head of
/// one row), so K and V come from memory once. Decode: per slot 2·headDim elements are read for 4·headDim·group flops, that is
/// group flops a byte at 16 bits: bound by memory up to a group of about 8. Prefill: 4·headDim flops per (line, slot); packing a tile
/// is shared by up to 96 lines; bound by FMA.
/// Few long sequences: spans become tasks of their own, and their states are merged afterwards.
/// </para>
/// </remarks>
internal static unsafe class PagedAttention
{
    /// <summary>Slots of a tile; its transposed keys and its values stay in L1 at a head size of 64.</summary>
    public const int KeyTile = 64;

    /// <summary>Slots of a span: what one thread takes when a long sequence is shared out.</summary>
    public const int Span = 512;

    /// <summary>Floats of a (row, head)'s statistics: maximum, sum of weights relative to it, and the observed range's part of that sum.</summary>
    public const int StatisticFloats = 3;

    internal struct Job
    {
        public KvView Cache;
        public float* Q, SinkQ, Output; // SinkQ: null when q serves all
        public long QStride, SinkQStride, OutputStride;
        public float Scale;
        public int Window, Self; // Self: 1 when a row sees its own slot
        public int Group, RowsEach, ValueStride, MaxSpans;
        public float* Scratch, States; // States: null unless spans are tasks
        public long ScratchFloats, StateFloats;
        public float* Statistics; // [row][head], null unless a probe wants them
        public AttentionWatch Watch;
        public int Tasks, Ticket;

        /// <summary>Lines of a full block of rows.</summary>
        public readonly int Lines => RowsEach * Group;

        /// <summary>First slot that row <paramref name="row"/> of its sequence sees, the group's sinks and window aside.</summary>
        public readonly int SeenFrom(in KvLane lane, int row) => Window > 0 ? Math.Max(0, lane.Length + row + 1 - Window) : 0;

        /// <summary>First slot of the group's window; from the sinks to there it sees nothing.</summary>
        public static int RecentFrom(in KvLane lane, int row) => lane.Window > 0 ? lane.Length + row + 1 - lane.Window : 0;

        /// <summary>First slot that it does not see any more.</summary>
        public readonly int SeenTo(in KvLane lane, int row) => lane.Length + row + Self;
    }

    /// <summary>Computes; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor q, in PagedKv cache, in AttentionProbe probe, in Tensor output)
    {
        var job = new Job
        {
            Cache = KvView.Of(cache, q.Rows),
            Q = (float*)q.Address,
            QStride = q.RowStride,
            Output = (float*)output.Address,
            OutputStride = output.RowStride,
            Scale = cache.Scale,
            Window = cache.Window,
            Self = cache.ExcludeSelf ? 0 : 1,
            Group = q.Columns / (cache.LaneGroup.Columns * cache.Batch.Format.HeadDim),
            ValueStride = (cache.Batch.Format.HeadDim + 15) & ~15,
        };
        if (cache.SinkQueries is { } sinkQueries)
        {
            job.SinkQ = (float*)sinkQueries.Address;
            job.SinkQStride = sinkQueries.RowStride;
        }

        if (probe.Wanted != AttentionSums.None)
            job.Watch = AttentionWatch.Of(probe, job.Cache, job.Group);
        AttentionPlan.Plan(host, ref job, statistics: probe.Wanted != AttentionSums.None);
        host.Run(Select(host.Path, cache.Batch.Format.Type), &job, long.MaxValue);
        if (job.States != null)
        {
            job.Ticket = 0;
            host.Run(AttentionMerge.Select(host.Path), &job, job.Tasks);
        }

        if ((probe.Wanted & (AttentionSums.Columns | AttentionSums.Band)) != 0)
            AttentionColumns.Run(host, job, cache.Batch.Format.Type);
        if ((probe.Wanted & AttentionSums.RangeMass) != 0)
            AttentionRanges.Add(job);
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
        float** q = stackalloc float*[2 * job.Lines];
        var scratch = new AttentionScratch(job, worker, q);
        var cursor = new AttentionCursor(job);
        for (int task; (task = Tickets.Take(ref job.Ticket, 1)) < job.Tasks;)
        {
            AttentionBlock block = cursor.Find(job, task);
            AttentionScores.Point(job, block.FirstRow, block.Head, block.Lines, scratch);
            if (job.States != null)
            {
                int index = task % job.MaxSpans;
                scratch.UseState(job.States + task * job.StateFloats, job);
                if (index < block.Spans)
                    Attend<S, V, E>(job, block, scratch, block.SpanAt(index));
                continue;
            }

            Whole<S, V, E>(job, block, scratch);
        }
    }

    /// <summary>All spans of a block of rows, one after the other, merged as they come.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Whole<S, V, E>(in Job job, in AttentionBlock block, in AttentionScratch scratch)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int spans = block.Spans;
        Attend<S, V, E>(job, block, scratch, block.SpanAt(0));
        if (spans > 1)
        {
            AttentionScratch total = scratch.Total();
            total.CopyFrom(scratch, block.Lines, job.ValueStride);
            for (int index = 1; index < spans; index++)
            {
                Attend<S, V, E>(job, block, scratch, block.SpanAt(index));
                AttentionMerge.Into<S, V>(total, scratch, block.Lines, job.ValueStride);
            }

            AttentionMerge.Write<S, V>(job, block, total);
            return;
        }

        AttentionMerge.Write<S, V>(job, block, scratch);
    }

    /// <summary>One span of a block of rows, from an empty state.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Attend<S, V, E>(in Job job, in AttentionBlock block, in AttentionScratch scratch, int span)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        scratch.Clear(block.Lines, job.ValueStride);
        KvLane lane = block.Lane;
        int end = Math.Min(block.SeenTo, (span + 1) * Span);
        int passes = (block.Lines + S.TileRows - 1) / S.TileRows, step = (block.Lines + passes - 1) / passes;
        bool inPlace = passes <= (E.WidensCheaply ? 2 : 1) && job.Cache.HeadDim % S.Width == 0; // packing values would cost more than it saves
        for (int tile = Math.Max(block.SeenFrom / KeyTile * KeyTile, span * Span); tile < end; tile += KeyTile)
        {
            int from = Math.Max(tile, block.SeenFrom), to = Math.Min(tile + KeyTile, end);
            if (lane.IsDead(from, to))
                continue;
            AttentionPack.Keys<S, V, E>(job.Cache, lane, tile, from, to, scratch.Keys, scratch.Gather);
            bool whereTheyLie = inPlace && !job.Cache.AnyPacked(lane, from, to);
            if (!whereTheyLie)
                AttentionPack.Values<S, V, E>(job.Cache, lane, tile, from, to, scratch.Values, job.ValueStride, scratch.Gather);
            for (int line = 0; line < block.Lines; line += step)
                Lines<S, V, E>(job, block, scratch, tile, line, Math.Min(step, block.Lines - line), whereTheyLie);
        }
    }

    /// <summary>A few lines against one tile, its keys packed, its values packed or in place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Lines<S, V, E>(in Job job, in AttentionBlock block, in AttentionScratch scratch, int tile, int line, int count, bool inPlace)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        KvLane lane = block.Lane;
        int firstRow = block.RowInSequence + line / job.Group, from = Math.Max(job.SeenFrom(lane, firstRow), tile);
        if (from >= lane.Sinks)
            from = Math.Max(from, Job.RecentFrom(lane, firstRow));
        int to = Math.Min(job.SeenTo(lane, block.RowInSequence + (line + count - 1) / job.Group), Math.Min(tile + KeyTile, block.SeenTo));
        if (from >= to)
            return;
        float* scores = scratch.Scores + (long)line * KeyTile, factors = stackalloc float[8];
        AttentionScores.Products<S, V>(job, lane, tile, scratch, line, count, scores);
        for (int i = 0; i < count; i++)
        {
            int row = block.RowInSequence + (line + i) / job.Group;
            var seen = new SeenKeys(job, lane, row, tile);
            factors[i] = AttentionSoftmax.Update<S, V>(
                scores + (long)i * KeyTile, seen, job.Scale, ref scratch.Maximum[line + i], ref scratch.Sum[line + i]);
        }

        if (job.Watch.Wanted != AttentionSums.None)
            AttentionRanges.Update<S, V>(job, block, scratch, tile, line, count, factors);

        float* output = scratch.Output + (long)line * job.ValueStride;
        if (!inPlace)
        {
            byte* values = (byte*)(scratch.Values + (long)(from - tile) * job.ValueStride);
            Values<S, V, F32Element>(job, scores + (from - tile), values, job.ValueStride * sizeof(float), to - from, output, factors, count);
            return;
        }

        int run;
        for (int slot = from; slot < to; slot += run)
        {
            run = job.Cache.Run(lane, slot, to, out byte* key);
            if (key == null)
                continue;
            if (line == 0)
                AttentionPack.PrefetchValues<S, V>(job.Cache, lane, slot, run, key);
            Values<S, V, E>(job, scores + (slot - tile), key + job.Cache.HalfLaneBytes, job.Cache.RowBytes, run, output, factors, count);
            new Span<float>(factors, count).Fill(1f); // earlier sums are rescaled once
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Values<S, V, E>(in Job job, float* weights, byte* values, nint strideBytes, int slots, float* output, float* factors, int lines)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int vectors = (job.Cache.HeadDim + S.Width - 1) / S.Width;
        for (int v = 0; v < vectors; v += AttentionTile.Vectors)
        {
            AttentionTile.Values<S, V, E>(
                weights, values + v * S.Width * E.Size, strideBytes, slots, output + v * S.Width, job.ValueStride, factors, lines,
                Math.Min(AttentionTile.Vectors, vectors - v));
        }
    }
}
