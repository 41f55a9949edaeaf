using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>Attention over the paged cache: which kernels serve a step, how its work is divided, and the sums that a policy asks for.</summary>
internal sealed class AttentionVerbs(CudaDevice device, CudaStream stream, KernelSet kernels, DeviceMemory memory, SplitPlans plans, FaultRecord fault, CudaOptions options)
{
    private const int MostDecodeRows = 4; // of a sequence, from which on tiles of rows pay
    private const int Threads = 128, Statistics = 3; // Kernels/attention.cuh
    private const int Keys = 32, Lines = 16, FlashKeys = 64; // Kernels/attention.cu, Kernels/flash.cu

    public void Attend(in Tensor q, in PagedKv cache, in AttentionProbe probe, in Tensor output)
    {
        int group = q.Columns / (cache.LaneGroup.Columns * cache.Batch.Format.HeadDim);
        bool observed = probe.Wanted != AttentionSums.None;
        var attention = new AttentionArguments
        {
            Cache = new CacheArguments(cache, q.Rows, fault),
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
        ulong parts = scratch + (ulong)statisticBytes;
        if (few is { } single)
        {
            var arguments = new SplitArguments
            {
                Attention = attention,
                Parts = parts,
                Plan = plansLanes ? plan : 0,
                Splits = plansLanes ? 1 : fewSplits,
                Least = 1,
                Most = served,
                RowsEach = rowsEach,
            };
            int ownRows = single.RowsPerTile == 0 ? rowsEach : 1; // CTAs of a sequence beside its splits
            (long, long, long) grid = plansLanes ? (items, ownRows, 1) : (ownRows, kvHeads, (long)batch.Sequences * fewSplits);
            Launch(single, arguments, grid, merged: plansLanes || fewSplits > 1 ? (long)batch.Sequences * rowsEach : 0);
        }

        if (many is { } tiled)
        {
            var arguments = new SplitArguments
            {
                Attention = attention,
                Parts = parts,
                Tiles = plansTiles ? tiles : 0,
                Splits = manySplits,
                Least = mostFew + 1,
                Most = int.MaxValue,
            };
            (long, long, long) grid = plansTiles ? (ctas, kvHeads, manySplits) : (tilesEach, kvHeads, (long)batch.Sequences * manySplits);
            Launch(tiled, arguments, grid, merged: manySplits > 1 ? rows : 0);
        }
    }

    /// <summary>The kernel, and then the merge of what it divided.</summary>
    /// <param name="merged">Rows whose keys were divided.</param>
    private void Launch(in Server server, SplitArguments arguments, (long, long, long) grid, long merged)
    {
        arguments.Attention.RowsPerTile = server.RowsPerTile;
        server.Kernel.Launch(stream, arguments, grid, Threads, server.SharedBytes);
        CacheArguments cache = arguments.Attention.Cache;
        if (merged > 0)
            kernels.MergeSplits.Launch(stream, arguments, (merged, cache.KvHeads * arguments.Attention.Group, 1), cache.Format.HeadDim);
    }

    private int Splits(long ctas) => options.Deterministic ? 1 : (int)Math.Clamp(plans.Target / Math.Max(1, ctas), 1, SplitPlans.MostSplits);

    /// <summary>Room for the keys, or the values, of a tile.</summary>
    private static int FlashTileBytes(in KvBlockFormat format) => FlashKeys * HeadKernels.PitchBytes(format.HeadDim) * (KernelSet.IsWide(format) ? 2 : 1);

    /// <summary>The hint only splits the work: a CTA goes on to the tiles that the grid does not cover.</summary>
    private static int RowTiles(in AttentionArguments attention, in KvBatch batch, int rows) =>
        (Math.Max(1, Math.Min(batch.MaxRows, rows)) + attention.RowsPerTile - 1) / attention.RowsPerTile;

    /// <summary>Maximum, sum and share of the range of every row and query head.</summary>
    private static long StatisticsBytes(in AttentionArguments attention, int rows) => (long)rows * attention.Cache.KvHeads * attention.Group * Statistics * sizeof(float);

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
}
