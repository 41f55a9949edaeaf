using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Engine.Cache;

/// <summary>Attention sums of the observed sequences: one row a lane, one column a slot, accumulated by the kernels step after step.</summary>
/// <remarks>The device memory is taken when the first observed sequence arrives. Engine thread only.</remarks>
internal sealed class SumStore
{
    private readonly IBackend _backend;
    private readonly Stack<int> _unused = new();
    private readonly int _sequences;
    private readonly float[] _row;
    private readonly float[] _moved;
    private Tensor? _sums;

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

    /// <summary>Columns.</summary>
    public int Slots { get; }

    /// <summary>f32 [sequences × lanes, slots]; null until a sequence was observed.</summary>
    public Tensor? Sums => _sums;

    /// <summary>Zeroed rows for one sequence.</summary>
    /// <returns>The first of them.</returns>
    public int Rent()
    {
        _sums ??= _backend.Allocate(DType.F32, checked(_sequences * Lanes), Slots);
        int row = _unused.Pop();
        Array.Clear(_row);
        for (int lane = 0; lane < Lanes; lane++)
            Write(row + lane, _row);
        return row;
    }

    /// <summary>Gives rows back.</summary>
    public void Return(int row) => _unused.Push(row);

    /// <summary>[lanes, slots] sums of one sequence.</summary>
    /// <param name="row">Its first row.</param>
    /// <param name="staging">At least lanes × slots elements, where device memory must be copied.</param>
    public ReadOnlySpan<float> Read(int row, Span<float> staging) => MemoryMarshal.Cast<byte, float>(
        _backend.Read(_sums!.Value.RowRange(row, Lanes), MemoryMarshal.AsBytes(staging)));

    /// <summary>Replaces the sums of one sequence.</summary>
    /// <param name="row">Its first row.</param>
    /// <param name="sums">[lanes, slots].</param>
    public void Write(int row, ReadOnlySpan<float> sums) =>
        _backend.Upload(MemoryMarshal.AsBytes(sums), _sums!.Value.RowRange(row, sums.Length / Slots));

    /// <summary>Lets sums follow their slots after a compression, and clears those of slots no longer in use.</summary>
    /// <param name="row">First row of the group.</param>
    /// <param name="lanes">Lanes of the group.</param>
    /// <param name="kept">Entry i: the slot whose sum moves to slot i.</param>
    public void Gather(int row, int lanes, ReadOnlySpan<int> kept)
    {
        for (int lane = row; lane < row + lanes; lane++)
        {
            ReadOnlySpan<float> sums = MemoryMarshal.Cast<byte, float>(
                _backend.Read(_sums!.Value.RowRange(lane, 1), MemoryMarshal.AsBytes(_row.AsSpan())));
            for (int slot = 0; slot < kept.Length; slot++)
                _moved[slot] = sums[kept[slot]];
            Array.Clear(_moved, kept.Length, Slots - kept.Length);
            Write(lane, _moved);
        }
    }
}
