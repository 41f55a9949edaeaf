using System.Runtime.InteropServices;

namespace InferenceService.Compute.Tests;

/// <summary>The contract in plain loops with double accumulators: the oracle of every backend.</summary>
internal sealed class ReferenceBackend : IBackend
{
    private readonly List<HostBuffer> _buffers = [];

    public string Name => "reference";

    public Tensor Allocate(DType type, int rows, int columns)
    {
        var buffer = new HostBuffer((long)rows * columns * type.Size());
        _buffers.Add(buffer);
        return Tensor.Dense(buffer, 0, type, rows, columns);
    }

    public Tensor Place(Tensor host) => host;

    public void Upload(ReadOnlySpan<byte> host, Tensor device)
    {
        VerbShapes.Upload(host.Length, device);
        host.CopyTo(Bytes(device));
    }

    public void Download(Tensor device, Span<byte> host)
    {
        VerbShapes.Download(device, host.Length);
        Bytes(device).CopyTo(host);
    }

    public void Embed(Tensor table, Tensor ids, Tensor output)
    {
        VerbShapes.Embed(table, ids, output);
        for (int r = 0; r < ids.Columns; r++)
            for (int c = 0; c < table.Columns; c++)
                F32(output, r, c) = Get(table, I32(ids, r), c);
    }

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.RmsNorm(x, weight, output);
        int n = weight.Columns;
        for (int r = 0; r < x.Rows; r++)
        {
            for (int start = 0; start < x.Columns; start += n)
            {
                double sum = 0;
                for (int c = 0; c < n; c++)
                    sum += (double)F32(x, r, start + c) * F32(x, r, start + c);
                double factor = 1 / Math.Sqrt(sum / n + epsilon);
                for (int c = 0; c < n; c++)
                    F32(output, r, start + c) = (float)(F32(x, r, start + c) * factor * Get(weight, 0, c));
            }
        }
    }

    public void MatMul(Tensor x, Tensor weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        for (int m = 0; m < x.Rows; m++)
        {
            for (int n = 0; n < weight.Rows; n++)
            {
                double sum = 0;
                for (int k = 0; k < x.Columns; k++)
                    sum += (double)F32(x, m, k) * Get(weight, n, k);
                F32(output, m, n) = (float)sum;
            }
        }
    }

    public void AddBias(Tensor x, Tensor bias)
    {
        VerbShapes.AddBias(x, bias);
        for (int r = 0; r < x.Rows; r++)
            for (int c = 0; c < x.Columns; c++)
                F32(x, r, c) += Get(bias, 0, c);
    }

    public void Rope(Tensor x, Tensor cosSin, int headDim)
    {
        VerbShapes.Rope(x, cosSin, headDim);
        int half = cosSin.Columns / 2;
        for (int r = 0; r < x.Rows; r++)
        {
            for (int head = 0; head < x.Columns; head += headDim)
            {
                for (int i = 0; i < half; i++)
                {
                    double cos = F32(cosSin, r, i), sin = F32(cosSin, r, half + i);
                    double a = F32(x, r, head + i), b = F32(x, r, head + half + i);
                    F32(x, r, head + i) = (float)(a * cos - b * sin);
                    F32(x, r, head + half + i) = (float)(b * cos + a * sin);
                }
            }
        }
    }

    public void SiluMultiply(Tensor gate, Tensor up, Tensor output)
    {
        VerbShapes.SameShape(gate, up);
        for (int r = 0; r < gate.Rows; r++)
        {
            for (int c = 0; c < gate.Columns; c++)
            {
                double g = F32(gate, r, c);
                F32(output, r, c) = (float)(g / (1 + Math.Exp(-g)) * F32(up, r, c));
            }
        }
    }

    public void Add(Tensor x, Tensor residual)
    {
        VerbShapes.SameShape(x, residual);
        for (int r = 0; r < x.Rows; r++)
            for (int c = 0; c < x.Columns; c++)
                F32(residual, r, c) += F32(x, r, c);
    }

    public void WriteKv(Tensor k, Tensor v, in PagedKv cache)
    {
        VerbShapes.WriteKv(k, v, cache);
        KvBatch batch = cache.Batch;
        int headDim = batch.Format.HeadDim;
        for (int s = 0; s < batch.Sequences; s++)
        {
            for (int row = I32(batch.RowStarts, s); row < I32(batch.RowStarts, s + 1); row++)
            {
                for (int head = 0; head < cache.LaneGroup.Columns; head++)
                {
                    var lane = new Lane(cache, s, head);
                    int slot = lane.Length + row - I32(batch.RowStarts, s);
                    for (int c = 0; c < headDim; c++)
                    {
                        Half16Bits.Write(batch.Format.Type, lane.Key(slot), c, F32(k, row, head * headDim + c));
                        Half16Bits.Write(batch.Format.Type, lane.Value(slot), c, F32(v, row, head * headDim + c));
                    }
                }
            }
        }
    }

    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output)
    {
        VerbShapes.Attention(q, cache, probe, output);
        KvBatch batch = cache.Batch;
        for (int s = 0; s < batch.Sequences; s++)
        {
            int start = I32(batch.RowStarts, s);
            for (int head = 0; head < cache.LaneGroup.Columns; head++)
            {
                var lane = new Lane(cache, s, head);
                for (int row = start; row < I32(batch.RowStarts, s + 1); row++)
                {
                    double[][] weights = AttendRow(q, cache, output, lane, head, row, row - start);
                    for (int i = 0; i < weights.Length && probe.Wanted != AttentionSums.None && I32(probe.SequenceRow, s) >= 0; i++)
                        Observe(probe, s, head, i, lane.Length + row - start, weights[i]);
                }
            }
        }
    }

    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.MoveSlots(moves, pool, format);
        int bytes = format.HeadDim * format.Type.Size();
        Span<byte> all = Bytes(pool);
        foreach (SlotMove move in moves)
        {
            for (int half = 0; half < 2 * format.Lanes; half++)
                all.Slice(At(move.From, half), bytes).CopyTo(all[At(move.To, half)..]);
        }

        int At(int slot, int half) =>
            slot / format.BlockSize * format.BlockBytes + half * format.HalfLaneBytes + slot % format.BlockSize * bytes;
    }

    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.PackBlocks(packs, pool, format);
        byte[] before = Bytes(pool).ToArray();
        foreach (BlockPack pack in packs)
        {
            for (int l = 0; l < format.Lanes; l++)
            {
                int lane = pack.Block * format.BlockBytes + format.LaneOffset(l), rowBytes = format.HeadDim * format.Type.Size();
                new PackedChild(Bytes(pool), format, pack.Child, l).Write((slot, channel, value) => Half16Bits.Read(
                    format.Type, before.AsSpan(lane + (value ? format.HalfLaneBytes : 0) + slot * rowBytes, rowBytes), channel));
            }
        }
    }

    public void Dispose()
    {
        foreach (HostBuffer buffer in _buffers)
            buffer.Dispose();
    }

    /// <summary>Adds one row's weights to the sums that its sequence wants: those of all query heads (0) or of one (1 + g).</summary>
    private static void Observe(in AttentionProbe probe, int sequence, int head, int part, int own, double[] weights)
    {
        Span<int> observed = MemoryMarshal.Cast<byte, int>(Row(probe.Observed, sequence));
        AttentionSums wanted = probe.Wanted & (AttentionSums)observed[0];
        if (part > 0 && !wanted.HasFlag(AttentionSums.Heads))
            return;
        int at = I32(probe.SequenceRow, sequence) + probe.LayerRow + head + part * probe.HeadRows, band = observed[2], sinkEnd = observed[3], recentStart = observed[4];
        if (own < observed[1])
            return;
        double mass = 0;
        for (int slot = 0; slot < weights.Length; slot++)
        {
            if (wanted.HasFlag(AttentionSums.Columns))
                F32(probe.ColumnSums, at, slot) += (float)weights[slot];
            if (wanted.HasFlag(AttentionSums.Band) && own - slot < band)
                F32(probe.BandSums, at, slot) += (float)weights[slot];
            if (slot < sinkEnd || slot >= recentStart)
                mass += weights[slot];
        }

        if (part == 0 && wanted.HasFlag(AttentionSums.RangeMass))
            F32(probe.RangeMass, at, 0) += (float)mass;
    }

    /// <summary>Writes one row of one KV head's query heads; returns its attention weights, averaged over them, then of each.</summary>
    private static double[][] AttendRow(Tensor q, in PagedKv cache, Tensor output, Lane lane, int head, int row, int rowInSequence)
    {
        DType type = cache.Batch.Format.Type;
        int headDim = cache.Batch.Format.HeadDim, group = q.Columns / (headDim * cache.LaneGroup.Columns);
        int last = lane.Length + rowInSequence, end = cache.ExcludeSelf ? last : last + 1;
        int first = cache.Window > 0 ? Math.Max(0, last + 1 - cache.Window) : 0, recent = lane.Window > 0 ? last + 1 - lane.Window : 0;
        double[] weights = new double[end], values = new double[headDim];
        double[][] columns = [.. Enumerable.Range(0, 1 + group).Select(_ => new double[end])];
        for (int g = 0; g < group; g++)
        {
            int column = (head * group + g) * headDim;
            double max = double.NegativeInfinity, sum = 0;
            for (int slot = first; slot < end; slot++)
            {
                if (Unseen(slot))
                    continue;
                Tensor queries = slot < lane.Sinks && cache.SinkQueries is { } sinkQueries ? sinkQueries : q;
                double score = 0;
                for (int c = 0; c < headDim; c++)
                    score += (double)F32(queries, row, column + c) * lane.Read(slot, c, value: false);
                weights[slot] = score * cache.Scale;
                max = Math.Max(max, weights[slot]);
            }

            Array.Clear(values);
            for (int slot = first; slot < end; slot++)
            {
                if (Unseen(slot))
                    continue;
                weights[slot] = Math.Exp(weights[slot] - max);
                sum += weights[slot];
                for (int c = 0; c < headDim; c++)
                    values[c] += weights[slot] * lane.Read(slot, c, value: true);
            }

            for (int c = 0; c < headDim; c++)
                F32(output, row, column + c) = sum > 0 ? (float)(values[c] / sum) : 0;
            for (int slot = first; slot < end; slot++)
            {
                columns[1 + g][slot] = Unseen(slot) ? 0 : weights[slot] / sum;
                columns[0][slot] += columns[1 + g][slot] / group;
            }
        }

        return columns;

        bool Unseen(int slot) => lane.IsDead(slot) || (slot >= lane.Sinks && slot < recent);
    }

    private static Span<byte> Bytes(Tensor tensor) =>
        ((HostBuffer)tensor.Buffer).Slice(tensor.Offset, checked((int)tensor.ByteLength));

    private static Span<byte> Row(Tensor tensor, int row) =>
        ((HostBuffer)tensor.Buffer).Slice(tensor.Offset + row * tensor.RowBytes, tensor.Columns * tensor.Type.Size());

    private static ref float F32(Tensor tensor, int row, int column) => ref MemoryMarshal.Cast<byte, float>(Row(tensor, row))[column];

    private static int I32(Tensor tensor, int column) => MemoryMarshal.Cast<byte, int>(Row(tensor, 0))[column];

    private static float Get(Tensor tensor, int row, int column) => Half16Bits.Read(tensor.Type, Row(tensor, row), column);

    /// <summary>One KV head of one sequence: where its rows lie.</summary>
    private readonly struct Lane
    {
        private readonly KvBlockFormat _format;
        private readonly Tensor _pool, _tables;
        private readonly int _laneOffset, _table, _gapStart, _gapLength, _absent;

        public Lane(in PagedKv cache, int sequence, int head)
        {
            KvBatch batch = cache.Batch;
            _format = batch.Format;
            _pool = batch.Pool;
            _tables = batch.Tables;
            _laneOffset = I32(cache.LaneOffset, head);
            Span<int> group = MemoryMarshal.Cast<byte, int>(
                Row(batch.Groups, sequence * batch.GroupsPerSequence + I32(cache.LaneGroup, head)));
            (_table, Length, _gapStart, _gapLength, Window) = (group[0], group[1], group[2], group[3], group[5]);
            Sinks = Window > 0 ? group[4] : 0;
            _absent = group[6];
        }

        public int Length { get; }

        public int Sinks { get; }

        public int Window { get; }

        public bool IsDead(int slot) => slot >= _gapStart && slot < _gapStart + _gapLength;

        public Span<byte> Key(int slot) => At(slot, 0);

        public Span<byte> Value(int slot) => At(slot, _format.HalfLaneBytes);

        /// <summary>An element as attention sees it, packed or not.</summary>
        public double Read(int slot, int channel, bool value)
        {
            int entry = Entry(slot), lane = _laneOffset / (2 * _format.HalfLaneBytes);
            return entry < 0
                ? new PackedChild(Bytes(_pool), _format, ~entry, lane).Read(slot % _format.BlockSize, channel, value)
                : Half16Bits.Read(_format.Type, value ? Value(slot) : Key(slot), channel);
        }

        /// <summary>Blocks of the gap may be missing in the table, from its first block border on.</summary>
        private int Entry(int slot)
        {
            int block = slot / _format.BlockSize, firstAbsent = (_gapStart + _format.BlockSize - 1) / _format.BlockSize;
            return I32(_tables, _table + (block < firstAbsent ? block : block - _absent));
        }

        private Span<byte> At(int slot, int half)
        {
            int bytes = _format.HeadDim * _format.Type.Size();
            int block = Entry(slot);
            if (block < 0)
                throw new ShapeException($"Slot {slot} lies in packed child {~block}, which has no rows.");
            return Row(_pool, block)
                .Slice(_laneOffset + half + slot % _format.BlockSize * bytes, bytes);
        }
    }
}
