using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Engine.Cache;

/// <summary>Attention sums of the observed sequences: one row a lane, accumulated by the kernels step after step.</summary>
/// <remarks>
/// Sums over slots have a column a slot, the range mass has one column. Device memory of each sum is taken when the first sequence
/// wants it. Engine thread only.
/// </remarks>
internal sealed class SumStore
{
    private const AttentionSums SlotSums = AttentionSums.Columns | AttentionSums.Band;

    private readonly IBackend _backend;
    private readonly Stack<int> _unused = new();
    private readonly int _sequences;
    private readonly float[] _row;
    private readonly float[] _moved;
    private Tensor? _columns;
    private Tensor? _bands;
    private Tensor? _masses;

    /// <summary>States the sizes.</summary>
    /// <param name="backend">Device that holds the sums.</param>
    /// <param name="lanes">Lanes of a sequence.</param>
    /// <param name="slots">Most slots of a lane.</param>
    /// <param name="sequences">Most sequences observed at once.</param>
    public SumStore(IBackend backend, int lanes, int slots, int sequences)
    {
        (_backend, Lanes, Slots, _sequences) = (backend, lanes, slots, sequences);
        (_row, _moved) = (new float[slots], new float[slots]);
        for (int sequence = sequences - 1; sequence >= 0; sequence--)
            _unused.Push(sequence * lanes);
    }

    /// <summary>Rows of a sequence.</summary>
    public int Lanes { get; }

    /// <summary>Columns of the sums over slots.</summary>
    public int Slots { get; }

    /// <summary>f32 [sequences × lanes, slots, or 1 for the range mass]; <c>default</c> until a sequence wanted it.</summary>
    public Tensor Of(AttentionSums one) => Place(one) ?? default;

    /// <summary>Elements of one sequence.</summary>
    public int Elements(AttentionSums one) => Lanes * (one == AttentionSums.RangeMass ? 1 : Slots);

    /// <summary>Zeroed rows for one sequence.</summary>
    /// <param name="sums">The sums that it may want.</param>
    /// <returns>The first of them.</returns>
    public int Rent(AttentionSums sums)
    {
        int row = _unused.Pop();
        Array.Clear(_row);
        foreach (AttentionSums one in (ReadOnlySpan<AttentionSums>)[AttentionSums.Columns, AttentionSums.Band, AttentionSums.RangeMass])
        {
            if ((sums & one) == 0)
                continue;
            ref Tensor? place = ref Place(one);
            place ??= _backend.Allocate(DType.F32, checked(_sequences * Lanes), Elements(one) / Lanes);
            for (int lane = 0; lane < Lanes; lane++)
                Write(one, row + lane, _row.AsSpan(0, Elements(one) / Lanes));
        }

        return row;
    }

    /// <summary>Gives rows back.</summary>
    public void Return(int row) => _unused.Push(row);

    /// <summary>[lanes, slots] (or [lanes] for the range mass) sums of one sequence.</summary>
    /// <param name="one">Which sum.</param>
    /// <param name="row">Its first row.</param>
    /// <param name="staging">At least <see cref="Elements"/>, where device memory must be copied.</param>
    public ReadOnlySpan<float> Read(AttentionSums one, int row, Span<float> staging) => MemoryMarshal.Cast<byte, float>(
        _backend.Read(Place(one)!.Value.RowRange(row, Lanes), MemoryMarshal.AsBytes(staging)));

    /// <summary>All sums of one sequence, for <see cref="Restore"/>.</summary>
    /// <param name="sums">The sums that it holds.</param>
    /// <param name="row">Its first row.</param>
    public float[] Save(AttentionSums sums, int row)
    {
        var saved = new float[SavedElements(sums)];
        int start = 0;
        foreach (AttentionSums one in (ReadOnlySpan<AttentionSums>)[AttentionSums.Columns, AttentionSums.Band, AttentionSums.RangeMass])
        {
            if ((sums & one) == 0)
                continue;
            Span<float> part = saved.AsSpan(start, Elements(one));
            Read(one, row, part).CopyTo(part);
            start += Elements(one);
        }

        return saved;
    }

    /// <summary>Elements of <see cref="Save"/>.</summary>
    public int SavedElements(AttentionSums sums)
    {
        int slotSums = ((sums & AttentionSums.Columns) != 0 ? 1 : 0) + ((sums & AttentionSums.Band) != 0 ? 1 : 0);
        return checked(Lanes * (slotSums * Slots + ((sums & AttentionSums.RangeMass) != 0 ? 1 : 0)));
    }

    /// <summary>Writes what <see cref="Save"/> gave into rented rows.</summary>
    public void Restore(AttentionSums sums, int row, ReadOnlySpan<float> saved)
    {
        foreach (AttentionSums one in (ReadOnlySpan<AttentionSums>)[AttentionSums.Columns, AttentionSums.Band, AttentionSums.RangeMass])
        {
            if ((sums & one) == 0)
                continue;
            Write(one, row, saved[..Elements(one)]);
            saved = saved[Elements(one)..];
        }
    }

    /// <summary>Lets column sums follow their slots after a compression, and clears those of slots no longer in use.</summary>
    /// <param name="row">First row of the group.</param>
    /// <param name="lanes">Lanes of the group.</param>
    /// <param name="kept">Entry i: the slot whose sum moves to slot i.</param>
    /// <param name="length">Slots in use before.</param>
    public void Gather(int row, int lanes, ReadOnlySpan<int> kept, int length)
    {
        for (int lane = row; lane < row + lanes && _columns is Tensor columns; lane++)
        {
            Tensor used = columns.RowRange(lane, 1).ColumnRange(0, length);
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
        for (int lane = row; lane < row + lanes && _columns is Tensor columns; lane++)
        {
            Tensor left = columns.RowRange(lane, 1).ColumnRange(from, 1);
            if (from != to)
            {
                _backend.Download(left, MemoryMarshal.AsBytes(one));
                _backend.Upload(MemoryMarshal.AsBytes(one), columns.RowRange(lane, 1).ColumnRange(to, 1));
            }

            one[0] = 0;
            _backend.Upload(MemoryMarshal.AsBytes(one), left);
        }
    }

    private void Write(AttentionSums one, int row, ReadOnlySpan<float> sums)
    {
        int columns = (one & SlotSums) != 0 ? Slots : 1;
        _backend.Upload(MemoryMarshal.AsBytes(sums), Place(one)!.Value.RowRange(row, sums.Length / columns));
    }

    private ref Tensor? Place(AttentionSums one)
    {
        if (one == AttentionSums.Columns)
            return ref _columns;
        if (one == AttentionSums.Band)
            return ref _bands;
        return ref _masses;
    }
}
