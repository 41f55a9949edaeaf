using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Cache;

/// <summary>What one sequence holds of the cache: a block table per group, and positions where slots and text may part ways.</summary>
/// <remarks>Changed only by <see cref="KvCache"/>, <see cref="KvCompressor"/>, <see cref="KvPacker"/> and <see cref="KvSwap"/>. Engine thread only.</remarks>
internal sealed class SequenceCache
{
    /// <summary>Position of a slot that holds nothing.</summary>
    public const int DeadSlot = -1;

    /// <summary>An empty cache.</summary>
    /// <param name="groups">Groups of the model.</param>
    /// <param name="blocksPerGroup">Room in each table before it must grow.</param>
    /// <param name="tracksPositions">A selector may drop slots of this sequence, so each slot remembers its position.</param>
    public SequenceCache(int groups, int blocksPerGroup, bool tracksPositions)
    {
        Tables = new BlockTable[groups];
        for (int group = 0; group < groups; group++)
            Tables[group] = new BlockTable(blocksPerGroup);
        if (tracksPositions)
            SlotPositions = [.. Enumerable.Range(0, groups).Select(_ => Array.Empty<int>())];
    }

    /// <summary>[groups] block tables.</summary>
    public BlockTable[] Tables { get; }

    /// <summary>[groups][slots] position of each slot; null when nothing is ever dropped, so that slot = position.</summary>
    public int[][]? SlotPositions { get; }

    /// <summary>First row of this sequence in the <see cref="SumStore"/>; −1 = not observed.</summary>
    public int SumRow { get; set; } = -1;

    /// <summary>Sums that its rows hold.</summary>
    public AttentionSums Sums { get; set; }

    /// <summary>What attention reports in the running step.</summary>
    public KvWatch Watch { get; set; }

    /// <summary>Last answer of <see cref="KvCache.SharedBlocks"/>, and the <see cref="BlockPool.Sharings"/> up to which it holds.</summary>
    public (int Blocks, long AsOf) Shared { get; set; } = (0, -1);

    /// <summary>Token blocks already offered to the prefix index.</summary>
    public int OfferedBlocks { get; set; }

    /// <summary>Something was dropped, so token blocks and table blocks no longer correspond.</summary>
    public bool IsCompressed { get; set; }

    /// <summary>A block was packed, so that what a later token says depends on which were packed before it.</summary>
    public bool IsPacked { get; set; }

    /// <summary>Blocks in all tables; a shared block counts wherever it stands.</summary>
    public int BlockCount
    {
        get
        {
            int count = 0;
            foreach (ref readonly BlockTable table in Tables.AsSpan())
                count += table.Count;
            return count;
        }
    }

    /// <summary>Slots of the longest table.</summary>
    public int LongestTable
    {
        get
        {
            int longest = 0;
            foreach (ref readonly BlockTable table in Tables.AsSpan())
                longest = Math.Max(longest, table.Length);
            return longest;
        }
    }

    /// <summary>States that <paramref name="tokens"/> tokens from <paramref name="position"/> on now stand in the next slots of every group.</summary>
    public void Advance(int position, int tokens)
    {
        for (int group = 0; group < Tables.Length; group++)
        {
            ref BlockTable table = ref Tables[group];
            if (SlotPositions is not null)
                AppendPositions(ref SlotPositions[group], table.Length, position, tokens);
            table.Length += tokens;
        }
    }

    /// <summary>States that <paramref name="count"/> token blocks from <paramref name="first"/> on were left out, and that the sinks end before it.</summary>
    public void SkipBlocks(int first, int count, int sinks, int blockSize)
    {
        for (int group = 0; group < Tables.Length; group++)
        {
            Tables[group].SetHole(first, count);
            Tables[group].SetGap(sinks, first * blockSize - sinks);
            SlotPositions![group].AsSpan(sinks, first * blockSize - sinks).Fill(DeadSlot);
        }

        IsCompressed = true;
    }

    /// <summary>Becomes a copy of <paramref name="parent"/>'s tables and positions; references are the caller's business.</summary>
    public void CopyFrom(SequenceCache parent)
    {
        for (int group = 0; group < Tables.Length; group++)
        {
            ref readonly BlockTable from = ref parent.Tables[group];
            ref BlockTable table = ref Tables[group];
            table.Clear();
            foreach (int block in from.Blocks)
                table.Append(block);
            table.Length = from.Length;
            table.SetGap(from.GapStart, from.GapLength);
            table.CopyHole(from);
            if (SlotPositions is not null && parent.SlotPositions is not null)
                SlotPositions[group] = [.. parent.SlotPositions[group]];
        }

        OfferedBlocks = parent.OfferedBlocks;
        Watch = parent.Watch;
        (IsCompressed, IsPacked) = (parent.IsCompressed, parent.IsPacked);
    }

    /// <summary>Empties all tables; references are the caller's business.</summary>
    public void Clear()
    {
        foreach (ref BlockTable table in Tables.AsSpan())
            table.Clear();
        (OfferedBlocks, IsCompressed, IsPacked) = (0, false, false);
    }

    /// <summary>Position of the token in a slot; <see cref="DeadSlot"/> = none.</summary>
    public int PositionOf(int group, int slot) => SlotPositions is null ? slot : SlotPositions[group][slot];

    /// <summary>Checks that positions lie in [0, <paramref name="computed"/>), are unique in each group, and that exactly the gap holds nothing.</summary>
    /// <exception cref="InvalidOperationException">One is broken.</exception>
    public void AssertPositions(int computed = int.MaxValue)
    {
        var seen = new HashSet<int>();
        for (int group = 0; group < Tables.Length; group++)
        {
            BlockTable table = Tables[group];
            seen.Clear();
            for (int slot = 0; slot < table.Length; slot++)
            {
                int position = PositionOf(group, slot);
                bool dead = slot >= table.GapStart && slot < table.GapStart + table.GapLength;
                if (dead ? position != DeadSlot : position < 0 || position >= computed || !seen.Add(position))
                    throw new InvalidOperationException($"Slot {slot} of group {group} claims position {position}.");
            }
        }
    }

    private static void AppendPositions(ref int[] positions, int length, int position, int tokens)
    {
        if (positions.Length < length + tokens)
            Array.Resize(ref positions, Math.Max(length + tokens, 2 * positions.Length));
        for (int i = 0; i < tokens; i++)
            positions[length + i] = position + i;
    }
}
