namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>An <see cref="AttentionProbe"/> for kernels: what each sequence wants observed, as raw pointers.</summary>
internal unsafe struct AttentionWatch
{
    private int* _sequenceRow, _observed;
    private int _layerRow;

    public float* ColumnSums, BandSums, RangeMass;
    public long ColumnStride, BandStride, RangeStride;

    /// <summary>Rows from a KV head's sums to those of its first query head, and on to the next.</summary>
    public int HeadRows;

    /// <summary>Sums that at least one sequence may want; none in a <c>default</c> watch.</summary>
    public AttentionSums Wanted;

    /// <summary>Checks what a wrong row would turn into a wild access, then takes the pointers.</summary>
    /// <exception cref="ShapeException">An observed sequence's row or slots leave a tensor of sums.</exception>
    public static AttentionWatch Of(in AttentionProbe probe, in KvView cache, int group)
    {
        var watch = new AttentionWatch
        {
            _sequenceRow = (int*)probe.SequenceRow.Address,
            _observed = (int*)probe.Observed.Address,
            _layerRow = probe.LayerRow,
            ColumnStride = probe.ColumnSums.RowStride,
            BandStride = probe.BandSums.RowStride,
            RangeStride = probe.RangeMass.RowStride,
            HeadRows = probe.HeadRows,
            Wanted = probe.Wanted,
        };
        watch.Check(AttentionSums.Columns, probe.ColumnSums, cache, group);
        watch.Check(AttentionSums.Band, probe.BandSums, cache, group);
        watch.Check(AttentionSums.RangeMass, probe.RangeMass, cache, group);
        if ((probe.Wanted & AttentionSums.Columns) != 0)
            watch.ColumnSums = (float*)probe.ColumnSums.Address;
        if ((probe.Wanted & AttentionSums.Band) != 0)
            watch.BandSums = (float*)probe.BandSums.Address;
        if ((probe.Wanted & AttentionSums.RangeMass) != 0)
            watch.RangeMass = (float*)probe.RangeMass.Address;
        return watch;
    }

    /// <summary>The sums that a sequence wants.</summary>
    public readonly AttentionSums Of(int sequence) =>
        _sequenceRow[sequence] < 0 ? AttentionSums.None : Wanted & (AttentionSums)Field(sequence, 0);

    /// <summary>First row of the sequence that is observed, at least 0.</summary>
    public readonly int FirstRow(int sequence, in KvLane lane) => Math.Max(0, Field(sequence, 1) - lane.Length);

    /// <summary>Slots that a row's band reaches back, its own included.</summary>
    public readonly int Band(int sequence) => Field(sequence, 2);

    /// <summary>End of the first slots of the range.</summary>
    public readonly int SinkEnd(int sequence) => Field(sequence, 3);

    /// <summary>Begin of the last slots of the range.</summary>
    public readonly int RecentStart(int sequence) => Field(sequence, 4);

    /// <summary>Row of the sums of a KV head.</summary>
    public readonly long Row(int sequence, int head) => (long)_sequenceRow[sequence] + _layerRow + head;

    private readonly int Field(int sequence, int field) => _observed[(long)sequence * AttentionProbe.ObservedFields + field];

    private readonly void Check(AttentionSums kind, in Tensor sums, in KvView cache, int group)
    {
        for (int s = 0; s < cache.Sequences; s++)
        {
            int rows = cache.RowsOf(s);
            if (rows == 0 || (Of(s) & kind) == 0)
                continue;
            long last = kind != AttentionSums.RangeMass && (Of(s) & AttentionSums.Heads) != 0 ? (long)group * HeadRows : 0;
            for (int head = 0; head < cache.KvHeads; head++)
            {
                int slots = kind == AttentionSums.RangeMass ? 1 : cache.Lane(s, head).Length + rows;
                if (Row(s, head) + last >= sums.Rows || last < 0 || slots > sums.Columns)
                {
                    throw new ShapeException(
                        $"{kind} of sequence {s} need row {_sequenceRow[s]} + {_layerRow} + {head} + {last} and {slots} slots of [{sums.Rows}, {sums.Columns}].");
                }
            }
        }
    }
}
