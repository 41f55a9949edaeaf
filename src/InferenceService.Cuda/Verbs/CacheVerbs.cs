using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>The verbs over the paged cache: arguments and launch shapes.</summary>
internal sealed class CacheVerbs(CudaDevice device, CudaStream stream, KernelSet kernels, DeviceMemory memory, FaultRecord fault, bool deterministic)
{
    private const int MostDecodeRows = 4, MostSplits = 32; // of a sequence, from which on tiles of rows pay; of a row's keys
    private const int Keys = 32, Lines = 16, Threads = 128, Statistics = 3; // Kernels/attention.cu

    public void Write(in Tensor k, in Tensor v, in PagedKv cache)
    {
        var arguments = new WriteArguments
        {
            Cache = Cache(cache, k.Rows),
            K = CudaBackend.Address(k),
            V = CudaBackend.Address(v),
            KStride = k.RowStride,
            VStride = v.RowStride,
        };
        if (cache.Batch.Sequences > 0)
            kernels.WriteKv.Launch(stream, arguments, (k.Rows, cache.LaneGroup.Columns, 1), 64);
    }

    public void Attend(in Tensor q, in PagedKv cache, in AttentionProbe probe, in Tensor output)
    {
        int kvHeads = cache.LaneGroup.Columns, group = q.Columns / (kvHeads * cache.Batch.Format.HeadDim), sequences = cache.Batch.Sequences;
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
            RowsPerTile = Math.Max(1, Lines / group),
        };
        if (cache.SinkQueries is { } sinkQueries)
            (attention.SinkQueries, attention.SinkStride) = (CudaBackend.Address(sinkQueries), sinkQueries.RowStride);
        if (observed)
        {
            attention.Statistics = memory.Scratch((long)q.Rows * kvHeads * group * Statistics * sizeof(float));
            (attention.SequenceRow, attention.Observed) = (CudaBackend.Address(probe.SequenceRow), CudaBackend.Address(probe.Observed));
            (attention.Wanted, attention.LayerRow) = ((int)probe.Wanted, probe.LayerRow);
        }

        // How the keys are split follows from the number of rows: bits then depend on the batch.
        if (!observed && !deterministic && cache.Batch.MaxRows <= MostDecodeRows && kernels.Decode(cache.Batch.Format, group) is { } decode)
        {
            Decode(decode, attention, q.Rows);
            return;
        }

        // The hint only splits the work: a CTA goes on to the tiles that the grid does not cover.
        long tiles = (Math.Max(1L, Math.Min(cache.Batch.MaxRows, q.Rows)) + attention.RowsPerTile - 1) / attention.RowsPerTile;
        DType type = cache.Batch.Format.Type;
        if (q.Rows == 0 || sequences == 0)
            return;
        kernels.Attention[(int)type].Launch(stream, attention, (tiles, kvHeads, sequences), Threads, SharedBytes(attention, output: true));
        if (observed)
            Sum(attention, probe, type, kvHeads, sequences);
    }

    private void Decode(Kernel<DecodeArguments> kernel, in AttentionArguments attention, int rows)
    {
        int kvHeads = attention.Cache.KvHeads, heads = kvHeads * attention.Group;
        if (rows == 0 || attention.Cache.Sequences == 0)
            return;
        // Two CTAs a multiprocessor, as far as rows and heads do not give them; those past a row's end leave at once.
        int splits = (int)Math.Clamp(2L * device.Multiprocessors / ((long)rows * kvHeads), 1, MostSplits);
        var arguments = new DecodeArguments { Attention = attention, Splits = splits };
        if (splits > 1)
            arguments.Parts = memory.Scratch((long)rows * heads * splits * (attention.Cache.HeadDim + 2) * sizeof(float));
        kernel.Launch(stream, arguments, (rows, kvHeads, splits), Threads);
        if (splits > 1)
            kernels.DecodeMerge.Launch(stream, arguments, (rows, heads, 1), attention.Cache.HeadDim);
    }

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
            BlockSize = format.BlockSize,
            HeadDim = format.HeadDim,
            Type = (int)format.Type,
            Lanes = format.Lanes,
            HalfLaneBytes = format.HalfLaneBytes,
            Bits = format.PackedBits,
            ChildrenPerBlock = format.ChildrenPerBlock,
            ChildBytes = format.ChildBytes,
            ChildLaneBytes = format.ChildLaneBytes,
        },
        (count, format.Lanes, 1), Threads);

    private void Sum(in AttentionArguments attention, in AttentionProbe probe, DType type, int kvHeads, int sequences)
    {
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
            long tiles = (slots + Keys - 1) / Keys + 1;
            kernels.AttentionSums[(int)type].Launch(stream, sums, (tiles, kvHeads, sequences), Threads, SharedBytes(attention, output: false));
        }

        if ((probe.Wanted & AttentionSums.RangeMass) != 0)
        {
            (sums.Range, sums.RangeStride, sums.RangeRows) = (CudaBackend.Address(probe.RangeMass), probe.RangeMass.RowStride, probe.RangeMass.Rows);
            kernels.AttentionRange.Launch(stream, sums, (kvHeads, sequences, 1), Threads);
        }
    }

    private int SharedBytes(in AttentionArguments a, bool output)
    {
        long d = a.Cache.HeadDim, lines = a.RowsPerTile * a.Group, queries = a.SinkQueries == 0 ? 1 : 2;
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
            BlockSize = format.BlockSize,
            HeadDim = format.HeadDim,
            Type = (int)format.Type,
            HalfLaneBytes = format.HalfLaneBytes,
            PackedBits = format.PackedBits,
            ChildrenPerBlock = format.ChildrenPerBlock,
            ChildBytes = format.ChildBytes,
            ChildLaneBytes = format.ChildLaneBytes,
            Window = cache.Window,
            ExcludeSelf = cache.ExcludeSelf ? 1 : 0,
            Rows = rows,
        };
    }
}
