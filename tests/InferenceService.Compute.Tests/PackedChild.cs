using System.Runtime.InteropServices;

namespace InferenceService.Compute.Tests;

/// <summary>One lane of a packed child, element by element, straight from the words of <see cref="KvBlockFormat"/>.</summary>
internal readonly ref struct PackedChild
{
    private const int Group = KvBlockFormat.PackedGroup;

    private readonly Span<byte> _bytes;
    private readonly KvBlockFormat _format;

    /// <summary>A lane of child <paramref name="child"/> of a pool.</summary>
    public PackedChild(Span<byte> pool, KvBlockFormat format, int child, int lane)
    {
        int at = child / format.ChildrenPerBlock * format.BlockBytes + child % format.ChildrenPerBlock * format.ChildBytes + lane * format.ChildLaneBytes;
        _bytes = pool.Slice(at, format.ChildLaneBytes);
        _format = format;
    }

    /// <summary>What readers see in place of an element.</summary>
    public double Read(int slot, int channel, bool value)
    {
        Place(slot, channel, value, out int codes, out int index, out int parameters);
        int code = _format.PackedBits == 8 ? _bytes[codes + index] : (_bytes[codes + index % 16] >> (index / 16 * 4)) & 15;
        Span<Half> pair = MemoryMarshal.Cast<byte, Half>(_bytes.Slice(parameters, 4));
        return code * (double)pair[0] + (double)pair[1];
    }

    /// <summary>The scale of an element's group.</summary>
    public double Scale(int slot, int channel, bool value)
    {
        Place(slot, channel, value, out _, out _, out int parameters);
        return (double)MemoryMarshal.Cast<byte, Half>(_bytes.Slice(parameters, 4))[0];
    }

    /// <summary>Quantises one lane, in double.</summary>
    /// <param name="element">(slot, channel, value) to what the full block holds.</param>
    public void Write(Func<int, int, bool, float> element)
    {
        for (int first = 0; first < _format.BlockSize; first += Group)
            for (int channel = 0; channel < _format.HeadDim; channel++)
                WriteGroup([.. Enumerable.Range(first, Group).Select(slot => element(slot, channel, false))], first, channel, value: false);
        for (int slot = 0; slot < _format.BlockSize; slot++)
            for (int first = 0; first < _format.HeadDim; first += Group)
                WriteGroup([.. Enumerable.Range(first, Math.Min(Group, _format.HeadDim - first)).Select(c => element(slot, c, true))], slot, first, value: true);
    }

    private void WriteGroup(float[] x, int slot, int channel, bool value)
    {
        double min = Math.Clamp(x.Min(), -65504.0, 65504), max = Math.Clamp(x.Max(), -65504.0, 65504);
        int levels = (1 << _format.PackedBits) - 1;
        Place(slot, channel, value, out int codes, out _, out int parameters);
        Span<Half> pair = MemoryMarshal.Cast<byte, Half>(_bytes.Slice(parameters, 4));
        (pair[0], pair[1]) = ((Half)Math.Max((max - min) / levels, Math.Pow(2, -24)), (Half)min);
        _bytes.Slice(codes, _format.CodeBytes).Clear();
        for (int i = 0; i < x.Length; i++)
        {
            double code = min == max ? 0 : Math.Clamp(Math.Round((x[i] - (double)pair[1]) / (double)pair[0]), 0, levels);
            if (_format.PackedBits == 8)
                _bytes[codes + i] = double.IsNaN(code) ? (byte)0 : (byte)code;
            else
                _bytes[codes + i % 16] |= double.IsNaN(code) ? (byte)0 : (byte)((int)code << (i / 16 * 4));
        }
    }

    /// <summary>Where an element's group has its codes and its scale and min, and which of the group it is.</summary>
    private void Place(int slot, int channel, bool value, out int codes, out int index, out int parameters)
    {
        int headDim = _format.HeadDim, codeBytes = _format.CodeBytes, groups = (headDim + Group - 1) / Group;
        if (!value)
        {
            int first = slot / Group * headDim * (codeBytes + 4);
            (codes, index, parameters) = (first + channel * codeBytes, slot % Group, first + headDim * codeBytes + channel * 4);
            return;
        }

        int start = _format.BlockSize / Group * headDim * (codeBytes + 4), number = slot * groups + channel / Group;
        (codes, index, parameters) = (start + number * codeBytes, channel % Group, start + _format.BlockSize * groups * codeBytes + number * 4);
    }
}
