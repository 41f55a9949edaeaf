using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Engine.Cache;

/// <summary>Attention sums of the observed sequences: one row a lane, accumulated by the kernels step after step.</summary>
/// <remarks>
/// Sums over slots have a column a slot, the range mass has one column. The memory is reserved once, for the sums that the allowed
/// policies may want; it is written, and so takes physical memory, only as far as slots have existed. Rows that nobody rents are zero,
/// and so are a sequence's columns behind its slots. Engine thread only.
/// </remarks>
internal sealed class SumStore
{
    /// <summary>Every sum over the query heads of a lane together.</summary>
    public const AttentionSums All = AttentionSums.Columns | AttentionSums.Band | AttentionSums.RangeMass;

    private static readonly AttentionSums[] Kinds = [AttentionSums.Columns, AttentionSums.Band, AttentionSums.RangeMass];

    private readonly IBackend _backend;
    private readonly int _heads;
    private readonly Stack<int> _unused = new();
    private readonly int[] _reached; // [sequences] slots that were ever in use since the rows were zero
    private readonly float[] _row;
    private readonly float[] _moved;
    private readonly float[][] _staging = [[], [], []];
    private readonly Tensor[] _places = new Tensor[3];

    /// <summary>Reserves the memory.</summary>
    /// <param name="backend">Device that holds the sums.</param>
    /// <param name="lanes">Lanes of a sequence.</param>
    /// <param name="slots">Most slots of a lane.</param>
    /// <param name="sequences">Most sequences observed at once.</param>
    /// <param name="kept">The sums that any of them may want.</param>
    /// <param name="heads">Query heads of a lane, for those that want each alone.</param>
    /// <exception cref="InsufficientMemoryException">The device has no such memory; the message names the sizes.</exception>
    public SumStore(IBackend backend, int lanes, int slots, int sequences, AttentionSums kept = All, int heads = 1)
    {
        (_backend, Lanes, Slots, Kept, _heads) = (backend, lanes, slots, kept, heads);
        int rows = Rows(kept);
        (_row, _moved, _reached) = (new float[Math.Max(slots, rows)], new float[slots], new int[sequences]);
        for (int sequence = sequences - 1; sequence >= 0; sequence--)
            _unused.Push(sequence * rows);
        try
        {
            foreach (AttentionSums one in Kinds)
                if ((kept & one) != 0)
                    _places[Index(one)] = backend.Allocate(DType.F32, checked(sequences * rows), Columns(one));
        }
        catch (OutOfMemoryException refusal)
        {
            throw new InsufficientMemoryException(
                $"The attention sums of {sequences} sequences of {lanes} lanes of {slots} tokens take {Bytes(lanes, slots, sequences, kept, heads)} bytes, "
                + "which the system refused; lower MaxNumSeqs or MaxModelLength, or allow no KV policy that ranks tokens by attention.", refusal);
        }
    }

    /// <summary>Rows of a sequence; behind them those of each query head alone, where these are <see cref="Kept"/>.</summary>
    public int Lanes { get; }

    /// <summary>Columns of the sums over slots.</summary>
    public int Slots { get; }

    /// <summary>The sums that there is memory for.</summary>
    public AttentionSums Kept { get; }

    /// <summary>Bytes of such a store.</summary>
    public static long Bytes(int lanes, int slots, int sequences, AttentionSums kept, int heads = 1) =>
        checked((long)sequences * lanes * ((kept & AttentionSums.Heads) != 0 ? 1 + heads : 1) * sizeof(float) * ((long)SlotSums(kept) * slots + ((kept & AttentionSums.RangeMass) != 0 ? 1 : 0)));

    /// <summary>f32 [sequences × rows of each, slots, or 1 for the range mass]; <c>default</c> when it is not <see cref="Kept"/>.</summary>
    public Tensor Of(AttentionSums one) => _places[Index(one)];

    /// <summary>Zero rows for one sequence.</summary>
    /// <returns>The first of them.</returns>
    public int Rent() => _unused.Pop();

    /// <summary>Gives rows back, and zeroes as much of them as was used.</summary>
    public void Return(int row)
    {
        ref int reached = ref _reached[row / Rows(Kept)];
        Array.Clear(_row);
        foreach (AttentionSums one in Kinds)
        {
            if ((Kept & one) == 0)
                continue;
            for (int run = 0; run < Runs(one, Kept); run++)
                Write(one, row, run, _row.AsSpan(0, Length(one, Kept, reached)));
        }

        reached = 0;
        _unused.Push(row);
    }

    /// <summary>States that the kernels may add to the first <paramref name="slots"/> slots of a sequence.</summary>
    public void Reach(int row, int slots) => _reached[row / Rows(Kept)] = Math.Max(_reached[row / Rows(Kept)], slots);

    /// <summary>[rows, slots] (or [rows] for the range mass) sums of one sequence, of which only the slots in use mean something.</summary>
    /// <param name="one">Which sum; one of <see cref="Kept"/>.</param>
    /// <param name="row">Its first row.</param>
    public ReadOnlySpan<float> Read(AttentionSums one, int row)
    {
        ref float[] staging = ref _staging[Index(one)];
        if (!_backend.ReadsInPlace && staging.Length == 0)
            staging = new float[Rows(Kept) * Columns(one)];
        return MemoryMarshal.Cast<byte, float>(_backend.Read(Of(one).RowRange(row, Rows(Kept)), MemoryMarshal.AsBytes(staging.AsSpan())));
    }

    /// <summary>Bytes of <see cref="Save"/>.</summary>
    /// <param name="sums">The sums to save.</param>
    /// <param name="slots">Slots in use.</param>
    public long SavedBytes(AttentionSums sums, int slots) => Bytes(Lanes, slots, 1, sums, _heads);

    /// <summary>Copies the sums of one sequence out, as far as it has slots.</summary>
    /// <param name="sums">Which.</param>
    /// <param name="row">Its first row.</param>
    /// <param name="slots">Slots in use.</param>
    /// <param name="memory">Where to.</param>
    /// <param name="at">First byte of <see cref="SavedBytes"/>.</param>
    public void Save(AttentionSums sums, int row, int slots, HostBuffer memory, long at)
    {
        foreach (AttentionSums one in Kinds)
        {
            int bytes = Length(one, sums, slots) * sizeof(float);
            for (int run = 0; run < Runs(one, sums) && (sums & one) != 0; run++, at += bytes)
                _backend.Download(Run(one, row, run, Length(one, sums, slots)), memory.Slice(at, bytes));
        }
    }

    /// <summary>Writes what <see cref="Save"/> gave into rented rows.</summary>
    public void Restore(AttentionSums sums, int row, int slots, HostBuffer memory, long at)
    {
        Reach(row, slots);
        foreach (AttentionSums one in Kinds)
        {
            int bytes = Length(one, sums, slots) * sizeof(float);
            for (int run = 0; run < Runs(one, sums) && (sums & one) != 0; run++, at += bytes)
                _backend.Upload(memory.Slice(at, bytes), Run(one, row, run, Length(one, sums, slots)));
        }
    }

    /// <summary>Copies the sums of one sequence to another's rented rows.</summary>
    public void Copy(AttentionSums sums, int from, int to)
    {
        int slots = _reached[from / Rows(Kept)];
        Reach(to, slots);
        foreach (AttentionSums one in Kinds)
        {
            for (int run = 0; run < Runs(one, sums) && (sums & one) != 0; run++)
            {
                Span<float> copied = _row.AsSpan(0, Length(one, sums, slots));
                _backend.Download(Run(one, from, run, copied.Length), MemoryMarshal.AsBytes(copied));
                Write(one, to, run, copied);
            }
        }
    }

    /// <summary>Lets column sums follow their slots after a compression, and clears those of slots no longer in use.</summary>
    /// <param name="row">First row of the group.</param>
    /// <param name="lanes">Lanes of the group.</param>
    /// <param name="kept">Entry i: the slot whose sum moves to slot i.</param>
    /// <param name="length">Slots in use before.</param>
    public void Gather(int row, int lanes, ReadOnlySpan<int> kept, int length)
    {
        for (int lane = row; lane < row + lanes && (Kept & AttentionSums.Columns) != 0; lane++)
        {
            Tensor used = Run(AttentionSums.Columns, lane, 0, length);
            ReadOnlySpan<float> sums = MemoryMarshal.Cast<byte, float>(_backend.Read(used, MemoryMarshal.AsBytes(_row.AsSpan(0, length))));
            for (int slot = 0; slot < kept.Length; slot++)
                _moved[slot] = sums[kept[slot]];
            Array.Clear(_moved, kept.Length, length - kept.Length);
            _backend.Upload(MemoryMarshal.AsBytes(_moved.AsSpan(0, length)), used);
        }
    }

    /// <summary>Lets one slot's column sum move to another place, and clears the place it leaves.</summary>
    public void Move(int row, int lanes, int from, int to)
    {
        Span<float> one = stackalloc float[1];
        for (int lane = row; lane < row + lanes && (Kept & AttentionSums.Columns) != 0; lane++)
        {
            Tensor columns = Of(AttentionSums.Columns), left = columns.RowRange(lane, 1).ColumnRange(from, 1);
            if (from != to)
            {
                _backend.Download(left, MemoryMarshal.AsBytes(one));
                _backend.Upload(MemoryMarshal.AsBytes(one), columns.RowRange(lane, 1).ColumnRange(to, 1));
            }

            one[0] = 0;
            _backend.Upload(MemoryMarshal.AsBytes(one), left);
        }
    }

    // A run is a dense piece of a sequence's sums: a lane's slots, or all lanes' range masses.
    private Tensor Run(AttentionSums one, int row, int run, int length) => one == AttentionSums.RangeMass
        ? Of(one).RowRange(row, length)
        : Of(one).RowRange(row + run, 1).ColumnRange(0, length);

    private void Write(AttentionSums one, int row, int run, ReadOnlySpan<float> sums) =>
        _backend.Upload(MemoryMarshal.AsBytes(sums), Run(one, row, run, sums.Length));

    private int Rows(AttentionSums sums) => (sums & AttentionSums.Heads) != 0 ? (1 + _heads) * Lanes : Lanes;

    private int Runs(AttentionSums one, AttentionSums sums) => one == AttentionSums.RangeMass ? 1 : Rows(sums);

    private int Length(AttentionSums one, AttentionSums sums, int slots) => one == AttentionSums.RangeMass ? Rows(sums) : slots;

    private int Columns(AttentionSums one) => one == AttentionSums.RangeMass ? 1 : Slots;

    private static int SlotSums(AttentionSums sums) => ((sums & AttentionSums.Columns) != 0 ? 1 : 0) + ((sums & AttentionSums.Band) != 0 ? 1 : 0);

    private static int Index(AttentionSums one) => one == AttentionSums.RangeMass ? 2 : one == AttentionSums.Band ? 1 : 0;
}
