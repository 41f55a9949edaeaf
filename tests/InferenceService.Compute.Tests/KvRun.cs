using System.Runtime.InteropServices;

namespace InferenceService.Compute.Tests;

/// <summary>A <see cref="KvCase"/> on a backend: the pool with NaN wherever nothing live lies, and steps over it.</summary>
internal sealed class KvRun
{
    private const int LayerRow = 2;

    private readonly KvCase _case;
    private readonly IBackend _backend;
    private readonly int _sumColumns;
    private readonly Tensor _sums, _bands, _ranges;

    public KvRun(KvCase kvCase, IBackend backend)
    {
        _case = kvCase;
        _backend = backend;
        byte[] pool = Poisoned();
        for (int s = 0; s < kvCase.Sequences.Length; s++)
        {
            for (int head = 0; head < kvCase.KvHeads; head++)
            {
                for (int slot = 0; slot < kvCase.Sequences[s].Lengths[kvCase.GroupOf(head)]; slot++)
                {
                    if (!kvCase.Sees(s, head, kvCase.Sequences[s].Lengths[kvCase.GroupOf(head)], slot) && !kvCase.IsPacked(s, head, slot))
                        continue; // what the first row does not see, no later one does
                    Store(Row(pool, s, head, slot, value: false), kvCase.Stored(s, head, slot, value: false));
                    Store(Row(pool, s, head, slot, value: true), kvCase.Stored(s, head, slot, value: true));
                }
            }
        }

        Pool = backend.Allocate(DType.U8, kvCase.Blocks, kvCase.Format.BlockBytes);
        backend.Upload(pool, Pool);
        if (kvCase.Packs.Count > 0)
            Pack();
        _sumColumns = 1 + kvCase.Sequences.Max(s => s.Lengths.Max() + s.Rows);
        int sumRows = (1 + kvCase.Group) * HeadRows + LayerRow;
        _sums = backend.Allocate(DType.F32, sumRows, _sumColumns);
        _bands = backend.Allocate(DType.F32, sumRows, _sumColumns);
        _ranges = backend.Allocate(DType.F32, sumRows, 1);
    }

    public Tensor Pool { get; }

    /// <summary>The whole pool.</summary>
    public byte[] PoolBytes()
    {
        byte[] bytes = new byte[Pool.ByteLength];
        _backend.Download(Pool, bytes);
        return bytes;
    }

    /// <summary>The column sums of a sequence's KV head so far; the last one belongs to no slot.</summary>
    public float[] Sums(int sequence, int head, int part = 0) => Row(_sums, sequence, head, part);

    /// <summary>The band sums of a sequence's KV head so far; the last one belongs to no slot.</summary>
    public float[] Bands(int sequence, int head, int part = 0) => Row(_bands, sequence, head, part);

    /// <summary>The range mass of a sequence's KV head so far.</summary>
    public float Range(int sequence, int head) => Row(_ranges, sequence, head)[0];

    /// <summary>Writes K and V of some rows and attends. Rows of each part must follow those of earlier steps; a part may be empty.</summary>
    /// <returns>The output rows of each part.</returns>
    public float[][] Step(bool observe, params (int Sequence, int Start, int Count)[] parts)
    {
        int rows = parts.Sum(p => p.Count);
        Matrix Join(Func<KvCase.KvSequence, Matrix> of) => new(
            DType.F32, rows, of(_case.Sequences[0]).Columns,
            parts.SelectMany(p => of(_case.Sequences[p.Sequence]).RowRange(p.Start, p.Count).Values).ToArray(), Left: 1, Right: 2);
        Matrix q = Join(s => s.Q), blank = Matrix.Blank(rows, q.Columns, 3, 1);
        Tensor output = blank.On(_backend);
        PagedKv cache = Cache(parts, out AttentionProbe probe);
        _backend.WriteKv(Join(s => s.K).On(_backend), Join(s => s.V).On(_backend), cache);
        _backend.Attention(q.On(_backend), cache with { SinkQueries = _case.HasSinkQueries ? Join(s => s.SinkQ).On(_backend) : null }, observe ? probe : default, output);

        float[] all = blank.From(_backend, output);
        float[][] results = new float[parts.Length][];
        int at = 0;
        for (int i = 0; i < parts.Length; i++)
        {
            results[i] = all.AsSpan(at * q.Columns, parts[i].Count * q.Columns).ToArray();
            at += parts[i].Count;
        }

        return results;
    }

    /// <summary>All rows of all sequences in one step, padded by an empty sequence.</summary>
    public float[][] All(bool observe) => Step(observe, [.. _case.Sequences.Select((s, i) => (i, 0, s.Rows)), (0, 0, 0)])[..^1];

    /// <summary>Packs on this backend, tells the case what the children hold, and poisons what was packed.</summary>
    private void Pack()
    {
        KvBlockFormat format = _case.Format;
        _backend.PackBlocks([.. _case.Packs.Select(p => p.Pack)], Pool, format);
        byte[] pool = PoolBytes();
        foreach ((int s, int group, int index, BlockPack pack) in _case.Packs)
        {
            foreach (int head in Enumerable.Range(0, _case.KvHeads).Where(head => _case.GroupOf(head) == group))
            {
                var child = new PackedChild(pool, format, pack.Child, _case.LaneOf(head));
                for (int i = 0; i < 2 * format.BlockSize * format.HeadDim; i++)
                {
                    (int slot, int channel, bool value) = (i / 2 / format.HeadDim, i / 2 % format.HeadDim, i % 2 == 1);
                    _case.Replace(s, head, index * format.BlockSize + slot, channel, value, (float)child.Read(slot, channel, value));
                }
            }

            pool.AsSpan(pack.Block * format.BlockBytes, format.BlockBytes).Fill(0xFF);
        }

        _backend.Upload(pool, Pool);
    }

    private PagedKv Cache((int Sequence, int Start, int Count)[] parts, out AttentionProbe probe)
    {
        List<int> groups = [], tables = [-1], starts = [0];
        foreach ((int s, int start, int count) in parts)
        {
            starts.Add(starts[^1] + count);
            if (count == 0)
            {
                for (int g = 0; g < _case.Groups; g++)
                    groups.AddRange([int.MaxValue, -1, int.MinValue, int.MaxValue, -1, -1, int.MinValue]); // padding: nobody may look
                continue;
            }

            KvCase.KvSequence sequence = _case.Sequences[s];
            for (int g = 0; g < _case.Groups; g++)
            {
                int blockSize = _case.Format.BlockSize, first = (sequence.GapStarts[g] + blockSize - 1) / blockSize;
                int inGap = Math.Max(0, (sequence.GapStarts[g] + sequence.GapLengths[g]) / blockSize - first);
                int absent = (s + g + start) % 3 == 0 ? inGap : (s + g + start) % 3 == 1 ? inGap / 2 : 0; // differs from part to part: no result may
                groups.AddRange([
                    tables.Count, sequence.Lengths[g] + start, sequence.GapStarts[g], sequence.GapLengths[g], sequence.Sinks[g], sequence.Windows[g], absent]);
                tables.AddRange(_case.Tables[s][g][..first]);
                tables.AddRange(_case.Tables[s][g][(first + absent)..]);
            }
        }

        var batch = new KvBatch(
            Pool, _case.Format, parts.Length, _case.Groups, Ints(groups, KvBatch.GroupFields), Ints(tables, tables.Count), Ints(starts, starts.Count),
            parts.Max(p => p.Count));
        AttentionSums wanted = parts.Aggregate(AttentionSums.None, (all, p) => all | _case.Sequences[p.Sequence].Watched.Sums);
        probe = new AttentionProbe(
            wanted,
            wanted.HasFlag(AttentionSums.Columns) ? _sums : default,
            wanted.HasFlag(AttentionSums.Band) ? _bands : default,
            wanted.HasFlag(AttentionSums.RangeMass) ? _ranges : default,
            Ints([.. parts.Select(p => _case.Sequences[p.Sequence].Watched.Sums == AttentionSums.None ? -1 : p.Sequence * _case.KvHeads)], parts.Length),
            Ints([.. parts.SelectMany(p => _case.Sequences[p.Sequence].Watched.Fields)], AttentionProbe.ObservedFields), LayerRow)
        { HeadRows = HeadRows };
        int[] heads = Enumerable.Range(0, _case.KvHeads).ToArray();
        return new PagedKv(
            batch, Ints([.. heads.Select(_case.GroupOf)], heads.Length),
            Ints([.. heads.Select(h => _case.Format.LaneOffset(_case.LaneOf(h)))], heads.Length), _case.Scale, _case.Window, _case.ExcludeSelf);
    }

    private int HeadRows => _case.Sequences.Length * _case.KvHeads;

    private float[] Row(Tensor sums, int sequence, int head, int part = 0)
    {
        float[] all = new float[sums.Rows * sums.Columns];
        _backend.Download(sums, MemoryMarshal.AsBytes(all.AsSpan()));
        return all.AsSpan((sequence * _case.KvHeads + head + part * HeadRows + LayerRow) * sums.Columns, sums.Columns).ToArray();
    }

    private byte[] Poisoned()
    {
        byte[] pool = new byte[_case.Blocks * _case.Format.BlockBytes];
        Array.Fill(pool, (byte)0xFF); // NaN in every type
        return pool;
    }

    private Span<byte> Row(byte[] pool, int sequence, int head, int slot, bool value)
    {
        KvBlockFormat format = _case.Format;
        int bytes = format.HeadDim * format.Type.Size();
        int group = _case.GroupOf(head), block = _case.Tables[sequence][group][slot / format.BlockSize];
        if (block < 0)
            block = _case.Packs.Single(p => p.Pack.Child == ~block).Pack.Block; // not packed yet
        return pool.AsSpan(
            block * format.BlockBytes + format.LaneOffset(_case.LaneOf(head)) + (value ? format.HalfLaneBytes : 0) + slot % format.BlockSize * bytes, bytes);
    }

    private void Store(Span<byte> row, ReadOnlySpan<float> values)
    {
        for (int i = 0; i < values.Length; i++)
            Half16Bits.Write(_case.Format.Type, row, i, values[i]);
    }

    private Tensor Ints(List<int> values, int columns)
    {
        Tensor tensor = _backend.Allocate(DType.I32, values.Count / columns, columns);
        _backend.Upload(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(values)), tensor);
        return tensor;
    }
}
