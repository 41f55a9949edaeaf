using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>The verbs over the paged cache: arguments and launch shapes.</summary>
internal sealed class CacheVerbs(CudaDevice device, CudaStream stream, KernelSet kernels, DeviceMemory memory, SplitPlans plans, FaultRecord fault, CudaOptions options)
{
    private const int MostDecodeRows = 4; // of a sequence, from which on tiles of rows pay
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

    /// <summary>By the kernels that serve the case best: one for the sequences with few rows of the step, one for those with more. The exact one serves all.</summary>
    /// <returns>The scores were those of the kernels on tensor cores.</returns>
    private bool Run(ref AttentionArguments attention, in KvBatch batch, int rows, bool observed)
    {
        KvBlockFormat format = batch.Format;
        bool rounded = options.RoundedAttention && !observed; // sums are shares of what attention saw
        Server? many = options.ExactAttention ? null : OnTensorCores(format, attention.Group, rounded, few: false);
        Server? few = options.ExactAttention || options.Deterministic ? null : Few(format, attention.Group, batch.MaxRows, observed);
        if (few is { } all && (batch.MaxRows <= all.Rows || (many is not null && batch.Sequences == 1)))
        {
            if (batch.MaxRows <= all.Rows)
                many = null;
            else
                few = null;
        }
        else if (many is null)
            few = null; // a step is either served by these or by the exact kernel

        if (few is null && many is null)
        {
            attention.RowsPerTile = Math.Max(1, Lines / attention.Group);
            attention.Statistics = observed ? memory.Scratch(StatisticsBytes(attention, rows)) : 0;
            kernels.Attention[(int)format.Type].Launch(
                stream, attention, (RowTiles(attention, batch, rows), attention.Cache.KvHeads, batch.Sequences), Threads, SharedBytes(attention, output: true));
            return false;
        }

        Serve(attention, batch, rows, observed, few, many, out ulong statistics);
        attention.Statistics = statistics;
        return observed;
    }

    /// <summary>A kernel that can divide the keys of a row.</summary>
    /// <param name="Rows">Most rows of a sequence that it serves.</param>
    /// <param name="RowsPerTile">Rows of a CTA; 0 = one each.</param>
    private readonly record struct Server(Kernel<SplitArguments> Kernel, int Rows, int RowsPerTile, int SharedBytes);

    /// <summary>
    /// The kernel for the sequences with few rows. How their keys are split follows from the whole step, and their sums from the tiles: other bits than
    /// those of <see cref="OnTensorCores"/> without splits, so that Deterministic has no use for it.
    /// </summary>
    private Server? Few(in KvBlockFormat format, int group, int mostRows, bool observed)
    {
        Server? tiles = OnTensorCores(format, group, rounded: false, few: true);
        bool fits = tiles is { } served && mostRows <= served.Rows && mostRows > MostDecodeRows;
        return !observed && !fits && kernels.Decode(format, group) is { } decode ? new Server(decode, MostDecodeRows, 0, 0) : tiles;
    }

    private Server? OnTensorCores(in KvBlockFormat format, int group, bool rounded, bool few)
    {
        int shared = Math.Max(2 * FlashTileBytes(format), few ? FlashKeys * (Statistics + format.HeadDim) * sizeof(float) : 0);
        if (shared > device.SharedBytesPerBlock || kernels.Flash(format, group, rounded, few) is not { } kernel)
            return null;
        int rowsPerTile = KernelSet.FlashLines(few) / group;
        return new Server(kernel, few ? rowsPerTile : int.MaxValue, rowsPerTile, shared);
    }

    /// <summary>
    /// As many CTAs as fill the device, as far as rows and heads do not give them: the keys of a row are split, alike where there is one sequence, by
    /// length where there are several. Scratch: statistics, then the parts of the one kernel, which its merge has read before the other's come.
    /// </summary>
    private void Serve(AttentionArguments attention, in KvBatch batch, int rows, bool observed, Server? few, Server? many, out ulong statistics)
    {
        int kvHeads = attention.Cache.KvHeads, heads = kvHeads * attention.Group, mostFew = few?.Rows ?? 0, rowsEach = Math.Min(mostFew, Math.Min(batch.MaxRows, rows));
        int served = many is null ? int.MaxValue : mostFew;
        attention.RowsPerTile = many?.RowsPerTile ?? few?.RowsPerTile ?? 0;
        int tilesEach = many is null ? 1 : RowTiles(attention, batch, rows);
        bool plansLanes = few is not null && batch.Sequences > 1, plansTiles = tilesEach > 1 && batch.Sequences > 1;
        (ulong plan, ulong tiles) = plansLanes || plansTiles
            ? plans.Make(attention.Cache, batch, plansLanes ? served : 0, mostFew + 1, plansTiles ? attention.RowsPerTile : 0)
            : default;
        long items = plans.MostItems(batch, kvHeads), ctas = plansTiles ? SplitPlans.MostTiles(batch, rows, attention.RowsPerTile) : (long)tilesEach * batch.Sequences;
        int fewSplits = Splits((long)rowsEach * batch.Sequences * kvHeads), manySplits = Splits(ctas * kvHeads);
        long statisticBytes = observed ? StatisticsBytes(attention, rows) : 0, partBytes = (attention.Cache.Format.HeadDim + Statistics) * (long)sizeof(float);
        long fewLines = few is null ? 0 : plansLanes ? items * rowsEach * attention.Group : fewSplits > 1 ? (long)rows * heads * fewSplits : 0;
        long manyLines = many is null || manySplits == 1 ? 0 : (long)rows * heads * manySplits, bytes = statisticBytes + Math.Max(fewLines, manyLines) * partBytes;
        ulong scratch = bytes > 0 ? memory.Scratch(bytes) : 0;
        attention.Statistics = statistics = observed ? scratch : 0;
        if (few is { } single)
        {
            attention.RowsPerTile = single.RowsPerTile;
            var arguments = new SplitArguments
            {
                Attention = attention,
                Parts = scratch + (ulong)statisticBytes,
                Plan = plansLanes ? plan : 0,
                Splits = plansLanes ? 1 : fewSplits,
                Least = 1,
                Most = served,
                RowsEach = rowsEach,
            };
            int ownRows = single.RowsPerTile == 0 ? rowsEach : 1; // CTAs of a sequence beside its splits
            (long, long, long) grid = plansLanes ? (items, ownRows, 1) : (ownRows, kvHeads, (long)batch.Sequences * fewSplits);
            single.Kernel.Launch(stream, arguments, grid, Threads, single.SharedBytes);
            if (plansLanes || fewSplits > 1)
                kernels.MergeSplits.Launch(stream, arguments, ((long)batch.Sequences * rowsEach, heads, 1), attention.Cache.Format.HeadDim);
        }

        if (many is { } tiled)
        {
            attention.RowsPerTile = tiled.RowsPerTile;
            var arguments = new SplitArguments
            {
                Attention = attention,
                Parts = scratch + (ulong)statisticBytes,
                Tiles = plansTiles ? tiles : 0,
                Splits = manySplits,
                Least = mostFew + 1,
                Most = int.MaxValue,
            };
            tiled.Kernel.Launch(stream, arguments, plansTiles ? (ctas, kvHeads, manySplits) : (tilesEach, kvHeads, (long)batch.Sequences * manySplits), Threads, tiled.SharedBytes);
            if (manySplits > 1)
                kernels.MergeSplits.Launch(stream, arguments, (rows, heads, 1), attention.Cache.Format.HeadDim);
        }
    }

    private int Splits(long ctas) => options.Deterministic ? 1 : (int)Math.Clamp(plans.Target / Math.Max(1, ctas), 1, SplitPlans.MostSplits);

    /// <summary>Room for the keys, or the values, of a tile.</summary>
    private static int FlashTileBytes(in KvBlockFormat format) => FlashKeys * HeadKernels.PitchBytes(format.HeadDim) * (KernelSet.IsWide(format) ? 2 : 1);

    /// <summary>The hint only splits the work: a CTA goes on to the tiles that the grid does not cover.</summary>
    private static int RowTiles(in AttentionArguments attention, in KvBatch batch, int rows) =>
        (Math.Max(1, Math.Min(batch.MaxRows, rows)) + attention.RowsPerTile - 1) / attention.RowsPerTile;

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
