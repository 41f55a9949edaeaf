namespace InferenceService.Compute.Cpu;

/// <summary>The contract on the processor.</summary>
public sealed class CpuBackend : IBackend
{
    private readonly List<HostBuffer> _buffers = [];

    /// <summary>Creates the backend.</summary>
    /// <param name="threads">Threads that compute, the caller included; 0 = one a usable core.</param>
    public CpuBackend(int threads = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        Threads = threads == 0 ? Environment.ProcessorCount : threads;
    }

    /// <inheritdoc/>
    public string Name => "cpu";

    /// <summary>Threads that compute, the caller included.</summary>
    public int Threads { get; }

    /// <inheritdoc/>
    public Tensor Allocate(DType type, int rows, int columns)
    {
        var buffer = new HostBuffer((long)rows * columns * type.Size());
        _buffers.Add(buffer);
        return Tensor.Dense(buffer, 0, type, rows, columns);
    }

    /// <inheritdoc/>
    public Tensor Place(Tensor host) => host;

    /// <inheritdoc/>
    public void Upload(ReadOnlySpan<byte> host, Tensor device)
    {
        VerbShapes.Upload(host.Length, device);
        host.CopyTo(Bytes(device));
    }

    /// <inheritdoc/>
    public void Download(Tensor device, Span<byte> host)
    {
        VerbShapes.Download(device, host.Length);
        Bytes(device).CopyTo(host);
    }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Read(Tensor device, Span<byte> staging) => Bytes(device);

    /// <inheritdoc/>
    public void Embed(Tensor table, Tensor ids, Tensor output)
    {
        VerbShapes.Embed(table, ids, output);
        for (int r = 0; r < ids.Columns; r++)
            for (int c = 0; c < table.Columns; c++)
                F32(output, r, c) = Get(table, I32(ids, r), c);
    }

    /// <inheritdoc/>
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

    /// <inheritdoc/>
    public void MatMul(Tensor x, Tensor weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        for (int n = 0; n < weight.Rows; n++)
        {
            for (int m = 0; m < x.Rows; m++)
            {
                double sum = 0;
                for (int k = 0; k < x.Columns; k++)
                    sum += (double)F32(x, m, k) * Get(weight, n, k);
                F32(output, m, n) = (float)sum;
            }
        }
    }

    /// <inheritdoc/>
    public void AddBias(Tensor x, Tensor bias)
    {
        VerbShapes.AddBias(x, bias);
        for (int r = 0; r < x.Rows; r++)
            for (int c = 0; c < x.Columns; c++)
                F32(x, r, c) += Get(bias, 0, c);
    }

    /// <inheritdoc/>
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

    /// <inheritdoc/>
    public void SiluMultiply(Tensor gate, Tensor up, Tensor output)
    {
        VerbShapes.SameShape(gate, up);
        VerbShapes.SameShape(gate, output);
        for (int r = 0; r < gate.Rows; r++)
        {
            for (int c = 0; c < gate.Columns; c++)
            {
                double g = F32(gate, r, c);
                F32(output, r, c) = (float)(g / (1 + Math.Exp(-g)) * F32(up, r, c));
            }
        }
    }

    /// <inheritdoc/>
    public void Add(Tensor x, Tensor residual)
    {
        VerbShapes.SameShape(x, residual);
        for (int r = 0; r < x.Rows; r++)
            for (int c = 0; c < x.Columns; c++)
                F32(residual, r, c) += F32(x, r, c);
    }

    /// <inheritdoc/>
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
                        Set(batch.Format.Type, lane.Key(slot), c, F32(k, row, head * headDim + c));
                        Set(batch.Format.Type, lane.Value(slot), c, F32(v, row, head * headDim + c));
                    }
                }
            }
        }
    }

    /// <inheritdoc/>
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
                    AttendRow(q, cache, probe, output, lane, s, head, row, row - start);
            }
        }
    }

    /// <inheritdoc/>
    public unsafe void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.MoveSlots(moves, pool, format);
        long bytes = format.HeadDim * format.Type.Size();
        foreach (SlotMove move in moves)
        {
            for (int half = 0; half < 2 * format.Lanes; half++)
            {
                nint from = Address(move.From, half), to = Address(move.To, half);
                Buffer.MemoryCopy((void*)from, (void*)to, bytes, bytes);
            }
        }

        nint Address(int slot, int half) => pool.Address
            + (nint)((long)(slot / format.BlockSize) * format.BlockBytes + (long)half * format.HalfLaneBytes + slot % format.BlockSize * bytes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (HostBuffer buffer in _buffers)
            buffer.Dispose();
        _buffers.Clear();
    }

    private static void AttendRow(
        Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output, Lane lane, int sequence, int head, int row, int rowInSequence)
    {
        int headDim = cache.Batch.Format.HeadDim, group = q.Columns / (headDim * cache.LaneGroup.Columns);
        DType type = cache.Batch.Format.Type;
        int last = lane.Length + rowInSequence;
        int first = cache.Window > 0 ? Math.Max(0, last + 1 - cache.Window) : 0;
        int end = cache.ExcludeSelf ? last : last + 1;
        double[] weights = new double[Math.Max(end, 0)], values = new double[headDim], columns = new double[weights.Length];
        for (int g = 0; g < group; g++)
        {
            int column = (head * group + g) * headDim;
            double max = double.NegativeInfinity, sum = 0;
            for (int slot = first; slot < end; slot++)
            {
                if (lane.IsDead(slot))
                    continue;
                double score = 0;
                for (int c = 0; c < headDim; c++)
                    score += (double)F32(q, row, column + c) * Get(type, lane.Key(slot), c);
                weights[slot] = score * cache.Scale;
                max = Math.Max(max, weights[slot]);
            }

            Array.Clear(values);
            for (int slot = first; slot < end; slot++)
            {
                if (lane.IsDead(slot))
                    continue;
                weights[slot] = Math.Exp(weights[slot] - max);
                sum += weights[slot];
                for (int c = 0; c < headDim; c++)
                    values[c] += weights[slot] * Get(type, lane.Value(slot), c);
            }

            for (int c = 0; c < headDim; c++)
                F32(output, row, column + c) = sum > 0 ? (float)(values[c] / sum) : 0;
            for (int slot = first; slot < end; slot++)
                columns[slot] += lane.IsDead(slot) ? 0 : weights[slot] / sum / group;
        }

        if ((probe.Wanted & AttentionSums.Columns) == 0 || I32(probe.SequenceRow, sequence) < 0)
            return;
        for (int slot = first; slot < end; slot++)
            F32(probe.ColumnSums, I32(probe.SequenceRow, sequence) + probe.LayerRow + head, slot) += (float)columns[slot];
    }

    private static unsafe Span<byte> Bytes(Tensor tensor) => new((void*)tensor.Address, checked((int)tensor.ByteLength));

    private static unsafe ref float F32(Tensor tensor, int row, int column) =>
        ref *((float*)(tensor.Address + (nint)(row * tensor.RowBytes)) + column);

    private static unsafe int I32(Tensor tensor, int column) => ((int*)tensor.Address)[column];

    private static float Get(Tensor tensor, int row, int column) => Get(tensor.Type, tensor.Address + (nint)(row * tensor.RowBytes), column);

    private static unsafe float Get(DType type, nint row, int column) => type switch
    {
        DType.F32 => ((float*)row)[column],
        DType.F16 => (float)((Half*)row)[column],
        _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)row)[column] << 16),
    };

    private static unsafe void Set(DType type, nint row, int column, float value)
    {
        switch (type)
        {
            case DType.F32: ((float*)row)[column] = value; break;
            case DType.F16: ((Half*)row)[column] = (Half)value; break;
            default:
                uint bits = BitConverter.SingleToUInt32Bits(value);
                ((ushort*)row)[column] = (ushort)(float.IsNaN(value) ? 0x7FC0 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
                break;
        }
    }

    /// <summary>One KV head of one sequence: where its rows lie.</summary>
    private readonly struct Lane
    {
        private readonly KvBlockFormat _format;
        private readonly nint _pool;
        private readonly int _rowBytes, _laneOffset, _table, _gapStart, _gapLength;
        private readonly Tensor _tables;

        public Lane(in PagedKv cache, int sequence, int head)
        {
            KvBatch batch = cache.Batch;
            _format = batch.Format;
            _pool = batch.Pool.Address;
            _rowBytes = _format.HeadDim * _format.Type.Size();
            _laneOffset = I32(cache.LaneOffset, head);
            int group = (sequence * batch.GroupsPerSequence + I32(cache.LaneGroup, head)) * 4;
            _table = I32(batch.Groups, group);
            Length = I32(batch.Groups, group + 1);
            _gapStart = I32(batch.Groups, group + 2);
            _gapLength = I32(batch.Groups, group + 3);
            _tables = batch.Tables;
        }

        public int Length { get; }

        public bool IsDead(int slot) => slot >= _gapStart && slot < _gapStart + _gapLength;

        public nint Key(int slot) => _pool
            + (nint)((long)I32(_tables, _table + slot / _format.BlockSize) * _format.BlockBytes + _laneOffset + slot % _format.BlockSize * _rowBytes);

        public nint Value(int slot) => Key(slot) + _format.HalfLaneBytes;
    }
}
