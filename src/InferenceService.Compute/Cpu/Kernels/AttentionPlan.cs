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
        int rows = 0, slots = 0;
        for (int s = 0; s < job.Cache.Sequences; s++)
        {
            rows = Math.Max(rows, job.Cache.RowsOf(s));
            if (job.Cache.RowsOf(s) > 0)
            {
                for (int head = 0; head < job.Cache.KvHeads; head++)
                    slots = Math.Max(slots, job.Cache.Lane(s, head).Length + job.Cache.RowsOf(s));
            }
        }

        job.RowsEach = Math.Clamp(LinesPerBlock / job.Group, 1, Math.Max(1, rows));
        while (job.RowsEach > 1 && job.RowsEach * job.Group > FewestLines && Blocks(job) < 4 * host.Workers)
            job.RowsEach = (job.RowsEach + 1) / 2;
        int blocks = Blocks(job);
        int spans = Math.Max(1, (slots + PagedAttention.Span - 1) / PagedAttention.Span);
        job.StateFloats = AttentionScratch.StateFloats(job);
        bool share = spans > 1 && blocks < 4 * host.Workers && host.Workers > 1 && blocks * spans * job.StateFloats <= MostStateFloats;
        job.MaxSpans = share ? spans : 1;
        job.Tasks = blocks * job.MaxSpans;
        job.ScratchFloats = AttentionScratch.Floats(job);

        long states = job.MaxSpans > 1 ? job.Tasks * job.StateFloats : 0;
        long heads = (long)job.Cache.KvHeads * job.Group;
        long kept = states + (statistics ? 2 * heads * job.Cache.RowStarts[job.Cache.Sequences] : 0);
        float* shared = host.Shared(kept);
        job.Scratch = host.Scratch(job.ScratchFloats);
        job.States = states > 0 ? shared : null;
        job.Statistics = statistics ? shared + states : null;
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

/// <summary>A block of rows of one sequence under one KV head, and the span that a task is about.</summary>
internal readonly struct AttentionBlock
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

    public required int Span { get; init; }
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
        int count = Math.Min(job.RowsEach, rows - first);
        KvLane lane = job.Cache.Lane(_sequence, head);
        return new AttentionBlock
        {
            Sequence = _sequence,
            Head = head,
            FirstRow = job.Cache.RowStarts[_sequence] + first,
            RowInSequence = first,
            Lines = count * job.Group,
            Lane = lane,
            SeenFrom = job.SeenFrom(lane, first),
            SeenTo = job.SeenTo(lane, first + count - 1),
            Span = task % job.MaxSpans,
        };
    }
}
