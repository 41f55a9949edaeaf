namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>A worker's memory in <see cref="PagedAttention"/>: the packed tile, the scores, and the state of every line.</summary>
internal unsafe struct AttentionScratch
{
    private readonly float* _total;
    private readonly long _lines;

    /// <summary>Lays out the memory of <paramref name="worker"/>.</summary>
    public AttentionScratch(in PagedAttention.Job job, int worker, float** q)
    {
        Q = q;
        SinkQ = job.SinkQ != null ? q + job.Lines : null;
        _lines = job.Lines;
        float* next = job.Scratch + worker * job.ScratchFloats;
        Keys = next;
        Values = Keys + (long)job.ValueStride * PagedAttention.KeyTile;
        Scores = Values + (long)job.ValueStride * PagedAttention.KeyTile;
        Gather = (byte*)(Scores + _lines * PagedAttention.KeyTile);
        float* state = (float*)Gather + GatherFloats(job);
        _total = state + job.StateFloats;
        UseState(state, job);
    }

    /// <summary>Where the query of each line begins.</summary>
    public float** Q { get; }

    /// <summary>Where its query for the sinks begins; null when <see cref="Q"/> serves all.</summary>
    public float** SinkQ { get; }

    /// <summary>[headDim, KeyTile].</summary>
    public float* Keys { get; }

    /// <summary>[KeyTile, headDim rounded up].</summary>
    public float* Values { get; }

    /// <summary>[lines, KeyTile].</summary>
    public float* Scores { get; }

    /// <summary>Room for scattered rows.</summary>
    public byte* Gather { get; }

    /// <summary>[lines, headDim rounded up]: weighted sums of values.</summary>
    public float* Output { get; private set; }

    /// <summary>[lines]: running maxima.</summary>
    public float* Maximum { get; private set; }

    /// <summary>[lines]: running sums of weights.</summary>
    public float* Sum { get; private set; }

    /// <summary>[lines]: the part of <see cref="Sum"/> that the observed range has; of observed lines only.</summary>
    public float* Range { get; private set; }

    /// <summary>Floats of the state of a block of rows.</summary>
    public static long StateFloats(in PagedAttention.Job job) => ((long)job.Lines * (job.ValueStride + 3) + 15) & ~15L;

    /// <summary>Floats that a worker needs.</summary>
    public static long Floats(in PagedAttention.Job job) =>
        2L * job.ValueStride * PagedAttention.KeyTile + (long)job.Lines * PagedAttention.KeyTile + GatherFloats(job) + 2 * StateFloats(job);

    /// <summary>Keeps the state at <paramref name="state"/>.</summary>
    public void UseState(float* state, in PagedAttention.Job job)
    {
        Output = state;
        Maximum = state + _lines * job.ValueStride;
        Sum = Maximum + _lines;
        Range = Sum + _lines;
    }

    /// <summary>The same memory with a second state, in which spans are merged.</summary>
    public readonly AttentionScratch Total()
    {
        AttentionScratch total = this;
        total.Output = _total;
        total.Maximum = _total + (Maximum - Output);
        total.Sum = _total + (Sum - Output);
        total.Range = _total + (Range - Output);
        return total;
    }

    /// <summary>An empty state.</summary>
    public readonly void Clear(int lines, int stride)
    {
        new Span<float>(Output, lines * stride).Clear();
        new Span<float>(Maximum, lines).Fill(AttentionSoftmax.NoKeyYet);
        new Span<float>(Sum, lines).Clear();
        new Span<float>(Range, lines).Clear();
    }

    /// <summary>Takes over the state of <paramref name="other"/>.</summary>
    public readonly void CopyFrom(in AttentionScratch other, int lines, int stride)
    {
        new Span<float>(other.Output, lines * stride).CopyTo(new Span<float>(Output, lines * stride));
        new Span<float>(other.Maximum, lines).CopyTo(new Span<float>(Maximum, lines));
        new Span<float>(other.Sum, lines).CopyTo(new Span<float>(Sum, lines));
        new Span<float>(other.Range, lines).CopyTo(new Span<float>(Range, lines));
    }

    private static long GatherFloats(in PagedAttention.Job job)
    {
        long rows = 16L * ((job.Cache.RowBytes + 15) / 16 * 4);
        return job.Cache.PackedBits == 0 ? rows : Math.Max(rows, PackedCodes.ParameterFloats(job.Cache.HeadDim));
    }
}
