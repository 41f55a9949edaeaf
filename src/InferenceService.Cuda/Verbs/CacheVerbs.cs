using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>The verbs over the paged cache: arguments and launch shapes.</summary>
internal sealed class CacheVerbs(CudaDevice device, CudaStream stream, KernelSet kernels, DeviceMemory memory, FaultRecord fault, CudaOptions options)
{
    private const int MostDecodeRows = 4, MostSplits = 32; // of a sequence, from which on tiles of rows pay; of a row's keys
    private const int RowThreads = 64; // Kernels/cache.cu
    private const int Threads = 128, Statistics = 3; // Kernels/attention.cuh
    private const int Keys = 32, Lines = 16, FlashKeys = 64; // Kernels/attention.cu, Kernels/flash.cu

    public void Write(in Tensor k, in Tensor v, in PagedKv cache)
    {
        if (cache.Batch.Sequences > 0)
            kernels.WriteKv.Launch(stream, Rows(k, v, cache), (k.Rows, cache.LaneGroup.Columns, 1), RowThreads);
    }

    /// <summary>Rotates queries and keys too.</summary>
    public void RotateAndWrite(in Tensor q, in Tensor k, in Tensor v, in Tensor cosSin, in PagedKv cache)
    {
        int heads = q.Columns / cache.Batch.Format.HeadDim;
        var arguments = new RotateArguments
        {
            Write = Rows(k, v, cache),
            Q = CudaBackend.Address(q),
            K = CudaBackend.Address(k),
            CosSin = CudaBackend.Address(cosSin),
            QStride = q.RowStride,
            CosSinStride = cosSin.RowStride,
            Heads = heads,
            Half = cosSin.Columns / 2,
        };
        kernels.RopeWriteKv.Launch(stream, arguments, (k.Rows, heads + cache.LaneGroup.Columns, 1), RowThreads);
    }

    private WriteArguments Rows(in Tensor k, in Tensor v, in PagedKv cache) => new()
    {
        Cache = Cache(cache, k.Rows),
        K = CudaBackend.Address(k),
        V = CudaBackend.Address(v),
        KStride = k.RowStride,
        VStride = v.RowStride,
    };

    public void Attend(in Tensor q, in PagedKv cache, in AttentionProbe probe, in Tensor output)
    {
        int group = q.Columns / (cache.LaneGroup.Columns * cache.Batch.Format.HeadDim);
        bool observed = probe.Wanted != AttentionSums.None;
        var attention = new AttentionArguments
        {
            Cache = Cache(cache, q.Rows),
            Q = CudaBackend.Address(q),
            Output = CudaBackend.Address(output),
            QStride = q.RowStride,
            OutputStride = output.RowStride,
            Scale = cache.Scale,
            Group = group,
        };
        if (cache.SinkQueries is { } sinkQueries)
            (attention.SinkQueries, attention.SinkStride) = (CudaBackend.Address(sinkQueries), sinkQueries.RowStride);
        if (observed)
        {
            (attention.SequenceRow, attention.Observed) = (CudaBackend.Address(probe.SequenceRow), CudaBackend.Address(probe.Observed));
            (attention.Wanted, attention.LayerRow) = ((int)probe.Wanted, probe.LayerRow);
        }

        if (q.Rows == 0 || cache.Batch.Sequences == 0)
            return;
        bool flash = Run(ref attention, cache.Batch, q.Rows, observed);
        if (observed)
            Sum(attention, probe, cache.Batch, flash);
    }

    /// <summary>By the kernel that serves the case best; the exact one serves all.</summary>
    /// <returns>It was the one on tensor cores.</returns>
    private bool Run(ref AttentionArguments attention, in KvBatch batch, int rows, bool observed)
    {
        KvBlockFormat format = batch.Format;
        // How the keys of a single row are split follows from the number of rows: bits then depend on the batch.
        if (options is { Deterministic: false, ExactAttention: false } && !observed && batch.MaxRows <= MostDecodeRows
            && kernels.Decode(format, attention.Group) is { } decode)
        {
            Split(decode, ref attention, rows, (rows, 1), observed, 0);
            return false;
        }

        // Few lines have a form of their own, whose bits are not those of the other.
        bool few = !options.Deterministic && (long)batch.MaxRows * attention.Group <= KernelSet.FlashLines(few: true);
        int shared = Math.Max(2 * FlashTileBytes(format), few ? FlashKeys * (Statistics + format.HeadDim) * sizeof(float) : 0);
        bool rounded = options.RoundedAttention && !observed; // sums are shares of what attention saw
        if (!options.ExactAttention && shared <= device.SharedBytesPerBlock && kernels.Flash(format, attention.Group, rounded, few) is { } flash)
        {
            attention.RowsPerTile = KernelSet.FlashLines(few) / attention.Group;
            Split(flash, ref attention, rows, (RowTiles(attention, batch, rows), batch.Sequences), observed, shared);
            return true;
        }

        attention.RowsPerTile = Math.Max(1, Lines / attention.Group);
        attention.Statistics = observed ? memory.Scratch(StatisticsBytes(attention, rows)) : 0;
        kernels.Attention[(int)format.Type].Launch(
            stream, attention, (RowTiles(attention, batch, rows), attention.Cache.KvHeads, batch.Sequences), Threads, SharedBytes(attention, output: true));
        return false;
    }

    /// <summary>Room for the keys, or the values, of a tile.</summary>
    private static int FlashTileBytes(in KvBlockFormat format) => FlashKeys * format.HeadDim * sizeof(ushort) * (KernelSet.IsWide(format) ? 2 : 1);

    /// <summary>The hint only splits the work: a CTA goes on to the tiles that the grid does not cover.</summary>
    private static int RowTiles(in AttentionArguments attention, in KvBatch batch, int rows) =>
        (Math.Max(1, Math.Min(batch.MaxRows, rows)) + attention.RowsPerTile - 1) / attention.RowsPerTile;

    /// <summary>A kernel that can divide the keys: two CTAs a multiprocessor, as far as rows and heads do not give them; those past a row's end leave at once.</summary>
    private void Split(Kernel<SplitArguments> kernel, ref AttentionArguments attention, int rows, (int X, int Z) grid, bool observed, int sharedBytes)
    {
        int kvHeads = attention.Cache.KvHeads, heads = kvHeads * attention.Group, headDim = attention.Cache.Format.HeadDim;
        int splits = options.Deterministic ? 1 : (int)Math.Clamp(2L * device.Multiprocessors / ((long)grid.X * grid.Z * kvHeads), 1, MostSplits);
        long statistics = observed ? StatisticsBytes(attention, rows) : 0, parts = splits > 1 ? (long)rows * heads * splits * (headDim + Statistics) * sizeof(float) : 0;
        ulong scratch = statistics + parts > 0 ? memory.Scratch(statistics + parts) : 0;
        attention.Statistics = observed ? scratch : 0;
        var arguments = new SplitArguments { Attention = attention, Splits = splits, Parts = scratch + (ulong)statistics };
        kernel.Launch(stream, arguments, (grid.X, kvHeads, (long)grid.Z * splits), Threads, sharedBytes);
        if (splits > 1)
            kernels.MergeSplits.Launch(stream, arguments, (rows, heads, 1), headDim);
    }

    /// <summary>Maximum, sum and share of the range of every row and query head.</summary>
    private static long StatisticsBytes(in AttentionArguments attention, int rows) => (long)rows * attention.Cache.KvHeads * attention.Group * Statistics * sizeof(float);

    public void Move(ulong moves, int count, in Tensor pool, in KvBlockFormat format) => kernels.MoveSlots.Launch(
        stream,
        new MoveArguments
        {
            Pool = CudaBackend.Address(pool),
            Moves = moves,
            BlockBytes = format.BlockBytes,
            Count = count,
            BlockSize = format.BlockSize,
            HalfLaneBytes = format.HalfLaneBytes,
            RowUnits = format.HeadDim * format.Type.Size() / sizeof(ushort),
        },
        (2 * format.Lanes, 1, 1), Threads);

    public void Pack(ulong packs, int count, in Tensor pool, in KvBlockFormat format) => kernels.PackBlocks.Launch(
        stream,
        new PackArguments
        {
            Pool = CudaBackend.Address(pool),
            Packs = packs,
            BlockBytes = format.BlockBytes,
            Format = new FormatArguments(format),
        },
        (count, format.Lanes, 1), Threads);

    private void Sum(AttentionArguments attention, in AttentionProbe probe, in KvBatch batch, bool flash)
    {
        (int keys, int lines) = flash ? (FlashKeys, KernelSet.FlashLines(few: false)) : (Keys, Lines);
        attention.RowsPerTile = Math.Max(1, lines / attention.Group);
        int kvHeads = attention.Cache.KvHeads;
        var sums = new SumArguments { Attention = attention, HeadRows = probe.HeadRows };
        int slots = 0;
        if ((probe.Wanted & AttentionSums.Columns) != 0)
        {
            (sums.Columns, sums.ColumnStride, sums.ColumnRows, sums.ColumnSlots) =
                (CudaBackend.Address(probe.ColumnSums), probe.ColumnSums.RowStride, probe.ColumnSums.Rows, probe.ColumnSums.Columns);
            slots = probe.ColumnSums.Columns;
        }

        if ((probe.Wanted & AttentionSums.Band) != 0)
        {
            (sums.Band, sums.BandStride, sums.BandRows, sums.BandSlots) =
                (CudaBackend.Address(probe.BandSums), probe.BandSums.RowStride, probe.BandSums.Rows, probe.BandSums.Columns);
            slots = Math.Max(slots, probe.BandSums.Columns);
        }

        if (slots > 0)
        {
            // Lengths are known to the device alone: CTAs past a lane's end have nothing to do, one more finds sums that are too short.
            long tiles = (slots + keys - 1) / keys + 1;
            (Kernel<SumArguments> kernel, int shared) = flash
                ? (kernels.FlashSums(batch.Format), FlashTileBytes(batch.Format) + lines * (keys + 1) * sizeof(float))
                : (kernels.AttentionSums[(int)batch.Format.Type], SharedBytes(attention, output: false));
            kernel.Launch(stream, sums, (tiles, kvHeads, batch.Sequences), Threads, shared);
        }

        if ((probe.Wanted & AttentionSums.RangeMass) != 0)
        {
            (sums.Range, sums.RangeStride, sums.RangeRows) = (CudaBackend.Address(probe.RangeMass), probe.RangeMass.RowStride, probe.RangeMass.Rows);
            kernels.AttentionRange.Launch(stream, sums, (kvHeads, batch.Sequences, 1), Threads);
        }
    }

    private int SharedBytes(in AttentionArguments a, bool output)
    {
        long d = a.Cache.Format.HeadDim, lines = a.RowsPerTile * a.Group, queries = a.SinkQueries == 0 ? 1 : 2;
        long floats = Keys * (d + 1) + lines * (Keys + 1) + lines * d * queries + (output ? Keys * d + 4 * lines + lines * d : 0);
        if (floats * sizeof(float) > device.SharedBytesPerBlock)
            throw new ShapeException($"Attention with {a.Group} query heads of {d} elements a KV head needs {floats * sizeof(float)} bytes of shared memory; the device has {device.SharedBytesPerBlock}.");
        return (int)(floats * sizeof(float));
    }

    private CacheArguments Cache(in PagedKv cache, int rows)
    {
        KvBatch batch = cache.Batch;
        KvBlockFormat format = batch.Format;
        return new CacheArguments
        {
            Pool = CudaBackend.Address(batch.Pool),
            Groups = CudaBackend.Address(batch.Groups),
            Tables = CudaBackend.Address(batch.Tables),
            RowStarts = CudaBackend.Address(batch.RowStarts),
            LaneGroup = CudaBackend.Address(cache.LaneGroup),
            LaneOffset = CudaBackend.Address(cache.LaneOffset),
            Fault = fault.Address,
            BlockBytes = format.BlockBytes,
            Sequences = batch.Sequences,
            GroupsPerSequence = batch.GroupsPerSequence,
            TableEntries = batch.Tables.Columns,
            KvHeads = cache.LaneGroup.Columns,
            Blocks = batch.Pool.Rows,
            Format = new FormatArguments(format),
            Window = cache.Window,
            ExcludeSelf = cache.ExcludeSelf ? 1 : 0,
            Rows = rows,
        };
    }
}
