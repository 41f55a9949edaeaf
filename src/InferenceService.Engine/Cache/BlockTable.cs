using System.Diagnostics;

namespace InferenceService.Engine.Cache;

/// <summary>One group's entries (block e ≥ 0, or packed child ~e), how many of their slots are in use, and the gap of dead slots among them.</summary>
/// <remarks>Slot i lies in block Blocks[i / blockSize] at i % blockSize. A struct in an array of its sequence: no object a group.</remarks>
internal struct BlockTable
{
    private int[] _blocks;

    /// <summary>An empty table with room for <paramref name="capacity"/> blocks.</summary>
    public BlockTable(int capacity) => _blocks = capacity == 0 ? [] : new int[capacity];

    /// <summary>Entries in slot order.</summary>
    public readonly ReadOnlySpan<int> Blocks => _blocks.AsSpan(0, Count);

    /// <summary>Blocks held.</summary>
    public int Count { get; private set; }

    /// <summary>Slots in use, those of the gap included.</summary>
    public int Length { get; set; }

    /// <summary>First slot of the gap.</summary>
    public int GapStart { get; private set; }

    /// <summary>Slots in the gap: they hold nothing, whatever their bytes say.</summary>
    public int GapLength { get; private set; }

    /// <summary>First block that <see cref="RemoveBlocks"/> took out: token block and table block correspond below it.</summary>
    public int HoleStart { get; private set; }

    /// <summary>Everything that it took out stood in a row, so that <see cref="IndexOf"/> knows the rest.</summary>
    public bool HasOneHole { get; private set; } = true;

    /// <summary>Blocks it took out.</summary>
    public int HoleBlocks { get; private set; }

    /// <summary>Slots that attention sees.</summary>
    public readonly int LiveSlots => Length - GapLength;

    /// <summary>Blocks missing to hold <paramref name="tokens"/> more slots.</summary>
    public readonly int BlocksMissing(int tokens, int blockSize) =>
        Length + tokens <= Count * blockSize ? 0 : (Length + tokens + blockSize - 1) / blockSize - Count; // nearly always 0, and a division is dear

    /// <summary>Global slot (block × block size + offset) of a slot.</summary>
    public readonly int GlobalSlot(int slot, int blockSize) => _blocks[slot / blockSize] * blockSize + slot % blockSize;

    /// <summary>Block <paramref name="index"/> holds only live slots.</summary>
    public readonly bool IsLive(int index, int blockSize) =>
        GapLength == 0 || GapStart >= (index + 1) * blockSize || GapStart + GapLength <= index * blockSize;

    /// <summary>Adds a block at the end.</summary>
    public void Append(int block)
    {
        if (Count == _blocks.Length)
            Array.Resize(ref _blocks, Math.Max(4, 2 * Count));
        _blocks[Count++] = block;
    }

    /// <summary>Puts another block in place <paramref name="index"/>.</summary>
    public readonly void Replace(int index, int block) => _blocks[index] = block;

    /// <summary>Forgets blocks from <paramref name="count"/> on; references are the caller's business.</summary>
    public void Truncate(int count)
    {
        Debug.Assert(count <= Count, "A table cannot be truncated to more than it holds.");
        Count = count;
    }

    /// <summary>Takes blocks [<paramref name="first"/>, first + <paramref name="count"/>) out; later slots move up by whole blocks.</summary>
    public void RemoveBlocks(int first, int count, int blockSize)
    {
        HasOneHole &= HoleBlocks == 0 || (first <= HoleStart && HoleStart <= first + count);
        (HoleStart, HoleBlocks) = (first, HoleBlocks + count);
        _blocks.AsSpan(first + count, Count - first - count).CopyTo(_blocks.AsSpan(first));
        Count -= count;
        Length -= count * blockSize;
    }

    /// <summary>Takes over what another table says of its holes.</summary>
    public void CopyHole(in BlockTable from) => (HoleStart, HoleBlocks, HasOneHole) = (from.HoleStart, from.HoleBlocks, from.HasOneHole);

    /// <summary>States which token blocks were never put in.</summary>
    public void SetHole(int start, int blocks) => (HoleStart, HoleBlocks) = blocks == 0 ? (0, 0) : (start, blocks);

    /// <summary>Place of a token block while nothing was gathered; −1 = it was taken out.</summary>
    public readonly int IndexOf(int tokenBlock) =>
        !HasOneHole ? -1 : tokenBlock < HoleStart || HoleBlocks == 0 ? tokenBlock : tokenBlock < HoleStart + HoleBlocks ? -1 : tokenBlock - HoleBlocks;

    /// <summary>States the dead slots.</summary>
    public void SetGap(int start, int length) => (GapStart, GapLength) = length == 0 ? (0, 0) : (start, length);

    /// <summary>Empties the table and keeps its memory.</summary>
    public void Clear() => (Count, Length, GapStart, GapLength, HoleStart, HoleBlocks, HasOneHole) = (0, 0, 0, 0, 0, 0, true);
}
