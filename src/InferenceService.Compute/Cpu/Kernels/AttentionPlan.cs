namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>How <see cref="PagedAttention"/> shares its work out; none of it changes a result.</summary>
internal static unsafe class AttentionPlan
{
    private const int LinesPerBlock = 96; // packing a tile costs about as much as 6 lines, so this many make it cheap
    private const int FewestLines = 24;
    private const long MostStateFloats = 16 << 20; // spans are shared out only while all their states fit 64 MiB

    /// <summary>Chooses the block of rows and whether spans are tasks; takes the scratch memory.</summary>
    public static void Plan(KernelHost host, ref PagedAttention.Job job, bool statistics)
    {
        int rows = 0;
        for (int s = 0; s < job.Cache.Sequences; s++)
            rows = Math.Max(rows, job.Cache.RowsOf(s));
        job.RowsEach = Math.Clamp(LinesPerBlock / job.Group, 1, Math.Max(1, rows));
        while (job.RowsEach > 1 && job.RowsEach * job.Group > FewestLines && Blocks(job) < 4 * host.Workers)
            job.RowsEach = (job.RowsEach + 1) / 2;
        int blocks = Blocks(job);
        int spans = Spans(job);
        job.StateFloats = AttentionScratch.StateFloats(job);
        bool share = spans > 1 && blocks < 4 * host.Workers && host.Workers > 1 && blocks * spans * job.StateFloats <= MostStateFloats;
        job.MaxSpans = share ? spans : 1;
        job.Tasks = blocks * job.MaxSpans;
        job.ScratchFloats = AttentionScratch.Floats(job);

        long states = job.MaxSpans > 1 ? job.Tasks * job.StateFloats : 0;
        long heads = (long)job.Cache.KvHeads * job.Group;
        long kept = states + (statistics ? PagedAttention.StatisticFloats * heads * job.Cache.RowStarts[job.Cache.Sequences] : 0);
        float* shared = host.Shared(kept);
        job.Scratch = host.Scratch(job.ScratchFloats);
        job.States = states > 0 ? shared : null;
        job.Statistics = statistics ? shared + states : null;
    }

    /// <summary>Most spans of which any block of rows sees something, or a little more.</summary>
    private static int Spans(in PagedAttention.Job job)
    {
        int most = 1;
        for (int s = 0; s < job.Cache.Sequences; s++)
        {
            int rows = job.Cache.RowsOf(s);
            for (int head = 0; head < job.Cache.KvHeads && rows > 0; head++)
            {
                KvLane lane = job.Cache.Lane(s, head);
                int spans = Touched(lane.Length + rows);
                if (job.Window > 0)
                    spans = Math.Min(spans, Touched((long)job.Window + job.RowsEach) + 1);
                if (lane.Window > 0)
                    spans = Math.Min(spans, Touched(lane.Sinks) + Touched((long)lane.Window + job.RowsEach) + 1);
                most = Math.Max(most, spans);
            }
        }

        return most;

        static int Touched(long slots) => (int)((slots + PagedAttention.Span - 1) / PagedAttention.Span);
    }

    private static int Blocks(in PagedAttention.Job job)
    {
        int blocks = 0;
        for (int s = 0; s < job.Cache.Sequences; s++)
            blocks += BlocksOf(job, s);
        return blocks;
    }

    /// <summary>Blocks of rows of a sequence, all KV heads together.</summary>
    public static int BlocksOf(in PagedAttention.Job job, int sequence) =>
        (job.Cache.RowsOf(sequence) + job.RowsEach - 1) / job.RowsEach * job.Cache.KvHeads;
}

/// <summary>A block of rows of one sequence under one KV head.</summary>
internal readonly unsafe struct AttentionBlock
{
    public required int Sequence { get; init; }

    public required int Head { get; init; }

    /// <summary>First row in the step's tensors.</summary>
    public required int FirstRow { get; init; }

    /// <summary>The same row, counted from the sequence's first.</summary>
    public required int RowInSequence { get; init; }

    /// <summary>Rows × query heads of the KV head.</summary>
    public required int Lines { get; init; }

    public required KvLane Lane { get; init; }

    /// <summary>First slot that any row of the block sees.</summary>
    public required int SeenFrom { get; init; }

    /// <summary>First slot that no row of the block sees any more.</summary>
    public required int SeenTo { get; init; }

    /// <summary>Spans of which some row of the block sees something.</summary>
    public int Spans => Math.Max(1, (SeenTo - 1) / PagedAttention.Span - SeenFrom / PagedAttention.Span + 1 - HoleSpans);

    private int HoleSpans => Math.Max(0, Lane.HoleEnd / PagedAttention.Span - FirstHoleSpan);

    private int FirstHoleSpan => (Lane.HoleStart + PagedAttention.Span - 1) / PagedAttention.Span;

    /// <summary>Rows [first, first + count) of a sequence under a KV head.</summary>
    public static AttentionBlock Of(in PagedAttention.Job job, int sequence, int head, int first, int count)
    {
        KvLane lane = job.Cache.Lane(sequence, head);
        int seenFrom = job.SeenFrom(lane, first), recentFrom = PagedAttention.Job.RecentFrom(lane, first); // later rows' windows begin later
        if (lane.Sinks <= seenFrom)
            seenFrom = Math.Max(seenFrom, recentFrom);
        else
            (lane.HoleStart, lane.HoleEnd) = (lane.Sinks, Math.Max(lane.Sinks, recentFrom));
        return new AttentionBlock
        {
            Sequence = sequence,
            Head = head,
            FirstRow = job.Cache.RowStarts[sequence] + first,
            RowInSequence = first,
            Lines = count * job.Group,
            Lane = lane,
            SeenFrom = seenFrom,
            SeenTo = job.SeenTo(lane, first + count - 1),
        };
    }

    /// <summary>Number of the span that is <paramref name="index"/>th among <see cref="Spans"/>.</summary>
    public int SpanAt(int index)
    {
        int span = SeenFrom / PagedAttention.Span + index;
        return HoleSpans > 0 && span >= FirstHoleSpan ? span + HoleSpans : span;
    }
}

/// <summary>Finds the block of a task. A worker's tasks only grow, so the search goes on where it stopped.</summary>
internal unsafe struct AttentionCursor(in PagedAttention.Job job)
{
    private int _sequence;
    private int _before; // blocks of the sequences before it
    private int _blocks = job.Cache.Sequences > 0 ? AttentionPlan.BlocksOf(job, 0) : 0;

    /// <summary>The block of a task. Last rows come first: they see most, and long tasks are best begun early.</summary>
    public AttentionBlock Find(in PagedAttention.Job job, int task)
    {
        int number = task / job.MaxSpans;
        while (number - _before >= _blocks)
        {
            _before += _blocks;
            _blocks = AttentionPlan.BlocksOf(job, ++_sequence);
        }

        int index = number - _before, head = index % job.Cache.KvHeads;
        int rows = job.Cache.RowsOf(_sequence);
        int first = (_blocks / job.Cache.KvHeads - 1 - index / job.Cache.KvHeads) * job.RowsEach;
        return AttentionBlock.Of(job, _sequence, head, first, Math.Min(job.RowsEach, rows - first));
    }
}
