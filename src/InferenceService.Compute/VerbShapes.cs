namespace InferenceService.Compute;

/// <summary>The shape rules of <see cref="IBackend"/>'s verbs, written once for all backends.</summary>
/// <remarks>Every method returns silently or throws <see cref="ShapeException"/>; none looks at tensor contents.</remarks>
public static class VerbShapes
{
    /// <summary>Rules of <see cref="IBackend.Upload"/>.</summary>
    public static void Upload(int hostBytes, in Tensor device)
    {
        if (!device.IsDense)
            throw Misfit("upload needs a dense tensor", device);
        if (hostBytes > device.ByteLength)
            throw new ShapeException($"Upload of {hostBytes} bytes into a tensor of {device.ByteLength} bytes.");
    }

    /// <summary>Rules of <see cref="IBackend.Download"/>.</summary>
    public static void Download(in Tensor device, int hostBytes)
    {
        if (!device.IsDense)
            throw Misfit("download needs a dense tensor", device);
        if (hostBytes < device.ByteLength)
            throw new ShapeException($"Download of {device.ByteLength} bytes into {hostBytes} bytes.");
    }

    /// <summary>Rules of <see cref="IBackend.Embed"/>.</summary>
    public static void Embed(in Tensor table, in Tensor ids, in Tensor output)
    {
        if (!IsFloat(table.Type))
            throw Misfit("embed reads f32, f16 or bf16", table);
        if (!(ids.Type == DType.I32 && ids.Rows == 1))
            throw Misfit("embed needs ids i32 [1, rows]", ids);
        if (!(output.Type == DType.F32 && output.Rows == ids.Columns && output.Columns == table.Columns))
            throw Misfit("embed output is f32 [ids, n]", output);
    }

    /// <summary>Rules of <see cref="IBackend.RmsNorm"/>.</summary>
    public static void RmsNorm(in Tensor x, in Tensor weight, in Tensor output)
    {
        if (x.Type != DType.F32)
            throw Misfit("norm reads f32", x);
        if (!(IsFloat(weight.Type) && weight.Rows == 1 && weight.Columns > 0))
            throw Misfit("norm weight is [1, n]", weight);
        if (x.Columns % weight.Columns != 0)
            throw Misfit($"columns are not a multiple of the norm weight's {weight.Columns}", x);
        SameShape(x, output);
    }

    /// <summary>Rules of <see cref="IBackend.MatMul(Tensor, Tensor, Tensor)"/>.</summary>
    public static void MatMul(in Tensor x, in Tensor weight, in Tensor output)
    {
        if (x.Type != DType.F32)
            throw Misfit("matmul reads f32 activations", x);
        if (x.Columns == 0)
            throw Misfit("matmul needs at least one column", x);
        if (!IsFloat(weight.Type))
            throw Misfit("matmul weight is f32, f16 or bf16", weight);
        if (weight.Columns != x.Columns)
            throw Misfit($"matmul weight must have the input's {x.Columns} columns", weight);
        if (!(output.Type == DType.F32 && output.Rows == x.Rows && output.Columns == weight.Rows))
            throw Misfit($"matmul output must be f32 [{x.Rows}, {weight.Rows}]", output);
    }

    /// <summary>Rules of <see cref="IBackend.MatMul(Tensor, in Weight, Tensor)"/>.</summary>
    public static void MatMul(in Tensor x, in Weight weight, in Tensor output)
    {
        if (weight.Format == WeightFormat.Stored)
        {
            MatMul(x, weight.Memory, output);
            return;
        }

        if (x.Type != DType.F32)
            throw Misfit("matmul reads f32 activations", x);
        if (weight.Columns != x.Columns)
            throw Misfit($"matmul weight {weight.Format} [{weight.Rows}, {weight.Columns}] must have the input's columns", x);
        if (!(output.Type == DType.F32 && output.Rows == x.Rows && output.Columns == weight.Rows))
            throw Misfit($"matmul output must be f32 [{x.Rows}, {weight.Rows}]", output);
    }

    /// <summary>Rules of <see cref="IBackend.Pack"/>.</summary>
    public static void Pack(in Tensor host, in Weight target, int firstRow)
    {
        if (target.Format == WeightFormat.Stored)
            throw new ShapeException("A stored weight is not packed.");
        if (!IsFloat(host.Type))
            throw Misfit("pack reads f32, f16 or bf16", host);
        if (host.Columns != target.Columns)
            throw Misfit($"pack needs the target's {target.Columns} columns", host);
        if (firstRow < 0 || firstRow > target.Rows - host.Rows)
            throw new ShapeException($"Rows {firstRow}+{host.Rows} leave a weight of {target.Rows} rows.");
    }

    /// <summary>Rules of <see cref="IBackend.AddBias"/>.</summary>
    public static void AddBias(in Tensor x, in Tensor bias)
    {
        if (x.Type != DType.F32)
            throw Misfit("bias is added to f32", x);
        if (!(IsFloat(bias.Type) && bias.Rows == 1 && bias.Columns == x.Columns))
            throw Misfit($"bias must be [1, {x.Columns}]", bias);
    }

    /// <summary>Rules of <see cref="IBackend.Rope"/>.</summary>
    public static void Rope(in Tensor x, in Tensor cosSin, int headDim)
    {
        if (x.Type != DType.F32)
            throw Misfit("rope rotates f32", x);
        if (!(headDim > 0 && x.Columns % headDim == 0))
            throw Misfit($"columns are not a multiple of the head size {headDim}", x);
        if (!(cosSin.Type == DType.F32 && cosSin.Rows == x.Rows))
            throw Misfit($"cosSin must be f32 [{x.Rows}, rotaryDim]", cosSin);
        if (!(cosSin.Columns % 2 == 0 && cosSin.Columns <= headDim))
            throw Misfit($"rotaryDim must be even and at most {headDim}", cosSin);
    }

    /// <summary>Two f32 tensors of one shape: <see cref="IBackend.Add"/>, <see cref="IBackend.SiluMultiply"/>.</summary>
    public static void SameShape(in Tensor a, in Tensor b)
    {
        if (a.Type != DType.F32)
            throw Misfit("operand must be f32", a);
        if (!(b.Type == DType.F32 && a.Rows == b.Rows && a.Columns == b.Columns))
            throw Misfit($"operand must be f32 [{a.Rows}, {a.Columns}]", b);
    }

    /// <summary>Rules of <see cref="IBackend.RopeWriteKv"/>.</summary>
    public static void RopeWriteKv(in Tensor q, in Tensor k, in Tensor v, in Tensor cosSin, in PagedKv cache)
    {
        Rope(q, cosSin, cache.Batch.Format.HeadDim);
        Rope(k, cosSin, cache.Batch.Format.HeadDim);
        WriteKv(k, v, cache);
    }

    /// <summary>Rules of <see cref="IBackend.Choose"/>.</summary>
    public static void Choose(in Tensor logits, in Tensor orders, in Tensor changes, in Tensor tokens, in Tensor next)
    {
        if (logits.Type != DType.F32)
            throw Misfit("tokens are chosen from f32 logits", logits);
        if (!(orders.Type == DType.U8 && orders.Columns == TokenOrder.ByteLength && orders.IsDense))
            throw Misfit($"orders must be u8 [orders, {TokenOrder.ByteLength}] without holes", orders);
        if (!(changes.Type == DType.I32 && changes.Columns == LogitChange.Words && changes.IsDense))
            throw Misfit($"changes must be i32 [changes, {LogitChange.Words}] without holes", changes);
        if (!(tokens.Type == DType.I32 && tokens.Rows == orders.Rows && tokens.Columns == 1 && tokens.IsDense))
            throw Misfit($"tokens must be i32 [{orders.Rows}, 1] without holes", tokens);
        if (!(next.Type == DType.I32 && next.Rows == 1))
            throw Misfit("ids for the next step must be i32 [1, rows]", next);
    }

    /// <summary>Rules of <see cref="IBackend.WriteKv"/>.</summary>
    public static void WriteKv(in Tensor k, in Tensor v, in PagedKv cache)
    {
        Cache(cache);
        if (!(k.Type == DType.F32 && k.Columns == cache.LaneGroup.Columns * cache.Batch.Format.HeadDim))
            throw Misfit($"k must be f32 [rows, {cache.LaneGroup.Columns}·{cache.Batch.Format.HeadDim}]", k);
        SameShape(k, v);
    }

    /// <summary>Rules of <see cref="IBackend.Attention"/>.</summary>
    public static void Attention(in Tensor q, in PagedKv cache, in AttentionProbe probe, in Tensor output)
    {
        Cache(cache);
        int width = cache.LaneGroup.Columns * cache.Batch.Format.HeadDim;
        if (!(q.Type == DType.F32 && q.Columns > 0 && q.Columns % width == 0))
            throw Misfit($"q must be f32 with a multiple of {width} columns", q);
        SameShape(q, output);
        if (cache.SinkQueries is { } sinkQueries)
            SameShape(q, sinkQueries);
        if (probe.Wanted != AttentionSums.None)
            Probe(cache.Batch.Sequences, probe);
    }

    private static void Probe(int sequences, in AttentionProbe probe)
    {
        if ((probe.Wanted & AttentionSums.Columns) != 0 && probe.ColumnSums.Type != DType.F32)
            throw Misfit("column sums are f32", probe.ColumnSums);
        if ((probe.Wanted & AttentionSums.Band) != 0 && probe.BandSums.Type != DType.F32)
            throw Misfit("band sums are f32", probe.BandSums);
        if ((probe.Wanted & AttentionSums.RangeMass) != 0 && !(probe.RangeMass.Type == DType.F32 && probe.RangeMass.Columns == 1))
            throw Misfit("range mass is f32 [rows, 1]", probe.RangeMass);
        if (!(probe.SequenceRow.Type == DType.I32 && probe.SequenceRow.Columns >= sequences))
            throw Misfit($"SequenceRow must be i32 [1, {sequences}]", probe.SequenceRow);
        if (!(probe.Observed.Type == DType.I32 && probe.Observed.Columns == AttentionProbe.ObservedFields && probe.Observed.IsDense && probe.Observed.Rows >= sequences))
            throw Misfit($"Observed must be dense i32 [{sequences}, {AttentionProbe.ObservedFields}]", probe.Observed);
        if (probe.LayerRow < 0)
            throw new ShapeException($"LayerRow is {probe.LayerRow}; it must not be negative.");
    }

    /// <summary>Rules of <see cref="IBackend.MoveSlots"/>.</summary>
    public static void MoveSlots(ReadOnlySpan<SlotMove> moves, in Tensor pool, in KvBlockFormat format)
    {
        Pool(pool, format);
        long slots = (long)pool.Rows * format.BlockSize;
        foreach (SlotMove move in moves)
        {
            if (move.From < 0 || move.To < 0 || move.From >= slots || move.To >= slots)
                throw new ShapeException($"Move of slot {move.From} to {move.To} leaves a pool of {slots} slots.");
        }
    }

    /// <summary>Rules of <see cref="IBackend.PackBlocks"/>.</summary>
    public static void PackBlocks(ReadOnlySpan<BlockPack> packs, in Tensor pool, in KvBlockFormat format)
    {
        Pool(pool, format);
        if (format.PackedBits == 0)
            throw new ShapeException($"Blocks of {format} are never packed.");
        long children = (long)pool.Rows * format.ChildrenPerBlock;
        foreach (BlockPack pack in packs)
        {
            if (pack.Block < 0 || pack.Block >= pool.Rows || pack.Child < 0 || pack.Child >= children || pack.Child / format.ChildrenPerBlock == pack.Block)
                throw new ShapeException($"Block {pack.Block} cannot become child {pack.Child} in a pool of {pool.Rows} blocks with {format.ChildrenPerBlock} children each.");
        }
    }

    private static void Cache(in PagedKv cache)
    {
        KvBatch batch = cache.Batch;
        Pool(batch.Pool, batch.Format);
        if (batch.Sequences < 0 || batch.GroupsPerSequence <= 0)
            throw new ShapeException($"A batch of {batch.Sequences} sequences with {batch.GroupsPerSequence} groups each.");
        if (!(batch.Groups.Type == DType.I32 && batch.Groups.Columns == KvBatch.GroupFields && batch.Groups.IsDense
            && batch.Groups.Rows >= (long)batch.Sequences * batch.GroupsPerSequence))
            throw Misfit($"Groups must be dense i32 [{batch.Sequences}·{batch.GroupsPerSequence}, {KvBatch.GroupFields}]", batch.Groups);
        if (!(batch.Tables.Type == DType.I32 && batch.Tables.Rows == 1))
            throw Misfit("Tables must be i32 [1, entries]", batch.Tables);
        if (!(batch.RowStarts.Type == DType.I32 && batch.RowStarts.Rows == 1 && batch.RowStarts.Columns > batch.Sequences))
            throw Misfit($"RowStarts must be i32 [1, {batch.Sequences} + 1]", batch.RowStarts);
        if (!(cache.LaneGroup.Type == DType.I32 && cache.LaneGroup.Rows == 1 && cache.LaneGroup.Columns > 0))
            throw Misfit("LaneGroup must be i32 [1, kvHeads]", cache.LaneGroup);
        if (!(cache.LaneOffset.Type == DType.I32 && cache.LaneOffset.Rows == 1 && cache.LaneOffset.Columns == cache.LaneGroup.Columns))
            throw Misfit($"LaneOffset must be i32 [1, {cache.LaneGroup.Columns}]", cache.LaneOffset);
        if (cache.Window < 0)
            throw new ShapeException($"Window is {cache.Window}; 0 means none, negative means nothing.");
    }

    private static void Pool(in Tensor pool, in KvBlockFormat format)
    {
        if (!IsFloat(format.Type) || format.BlockSize <= 0 || format.HeadDim <= 0 || format.Lanes <= 0)
            throw new ShapeException($"{format} is not a block format.");
        if (format.PackedBits is not (0 or 4 or 8) || (format.PackedBits > 0 && format.BlockSize % KvBlockFormat.PackedGroup != 0))
            throw new ShapeException($"{format}: PackedBits is 0, 4 or 8, and where it is not 0 BlockSize is a multiple of {KvBlockFormat.PackedGroup}.");
        if (!(pool.Type == DType.U8 && pool.IsDense && pool.Columns == format.BlockBytes))
            throw Misfit($"the pool must be dense u8 [blocks, {format.BlockBytes}]", pool);
    }

    private static bool IsFloat(DType type) => type is DType.F32 or DType.F16 or DType.BF16;

    private static ShapeException Misfit(string rule, in Tensor tensor) =>
        new($"{tensor.Type} [{tensor.Rows}, {tensor.Columns}] stride {tensor.RowStride}: {rule}.");
}
