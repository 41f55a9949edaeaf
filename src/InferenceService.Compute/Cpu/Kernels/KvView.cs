using System.Numerics;
using System.Runtime.CompilerServices;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>The cache of one layer as raw pointers: <see cref="PagedKv"/> for kernels.</summary>
internal unsafe struct KvView
{
    private byte* _pool;
    private int* _groups, _tables, _laneGroup, _laneOffset;
    private int _groupsPerSequence, _childrenPerBlock, _childBytes, _childLaneBytes, _shift;

    public int* RowStarts;
    public int BlockBytes, HalfLaneBytes, RowBytes, BlockSize, HeadDim, KvHeads, Sequences, PackedBits, ChildKeyBytes;

    /// <summary>Checks what a wrong table would turn into a wild access, then takes the pointers.</summary>
    /// <param name="rows">Rows of the step's tensors.</param>
    /// <exception cref="ShapeException">A row range leaves the tensors, a group does not exist, or a table run leaves the tables.</exception>
    public static KvView Of(in PagedKv cache, int rows)
    {
        KvBatch batch = cache.Batch;
        var view = new KvView
        {
            _pool = (byte*)batch.Pool.Address,
            _groups = (int*)batch.Groups.Address,
            _tables = (int*)batch.Tables.Address,
            _laneGroup = (int*)cache.LaneGroup.Address,
            _laneOffset = (int*)cache.LaneOffset.Address,
            _groupsPerSequence = batch.GroupsPerSequence,
            _childrenPerBlock = batch.Format.ChildrenPerBlock,
            _childBytes = batch.Format.ChildBytes,
            _childLaneBytes = batch.Format.ChildLaneBytes,
            PackedBits = batch.Format.PackedBits,
            ChildKeyBytes = batch.Format.ChildKeyBytes,
            RowStarts = (int*)batch.RowStarts.Address,
            BlockBytes = batch.Format.BlockBytes,
            HalfLaneBytes = batch.Format.HalfLaneBytes,
            RowBytes = batch.Format.HeadDim * batch.Format.Type.Size(),
            BlockSize = batch.Format.BlockSize,
            _shift = BitOperations.IsPow2(batch.Format.BlockSize) ? BitOperations.Log2((uint)batch.Format.BlockSize) : -1,
            HeadDim = batch.Format.HeadDim,
            KvHeads = cache.LaneGroup.Columns,
            Sequences = batch.Sequences,
        };
        view.Check(batch, rows);
        return view;
    }

    /// <summary>Rows that belong to a sequence.</summary>
    public readonly int RowsOf(int sequence) => RowStarts[sequence + 1] - RowStarts[sequence];

    /// <summary>One KV head of one sequence.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly KvLane Lane(int sequence, int head)
    {
        int* group = _groups + ((long)sequence * _groupsPerSequence + _laneGroup[head]) * KvBatch.GroupFields;
        return new KvLane
        {
            Base = _pool + _laneOffset[head],
            Packed = _pool + (long)(_laneOffset[head] / (2 * HalfLaneBytes)) * _childLaneBytes,
            Table = _tables + group[0],
            Length = group[1],
            GapStart = group[2],
            GapEnd = group[2] + group[3],
            Sinks = group[5] > 0 ? group[4] : 0,
            Window = group[5],
            FirstAbsent = BlockOf(group[2] + BlockSize - 1),
            Absent = group[6],
        };
    }

    /// <summary>Block of a slot; a shift for the usual sizes, since a division costs as much as the arithmetic on several slots.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly int BlockOf(int slot) => _shift >= 0 ? slot >> _shift : slot / BlockSize;

    /// <summary>Place in the lane's table of a block that is not absent.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int PlaceOf(in KvLane lane, int block) => block < lane.FirstAbsent ? block : block - lane.Absent;

    /// <summary>The lane of the packed child that holds a slot; null when the slot lies in a full block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly byte* Child(in KvLane lane, int slot)
    {
        if (PackedBits == 0)
            return null;
        int entry = lane.Table[PlaceOf(lane, BlockOf(slot))];
        if (entry >= 0)
            return null;
        (int block, int child) = Math.DivRem(~entry, _childrenPerBlock);
        return lane.Packed + (long)block * BlockBytes + (long)child * _childBytes;
    }

    /// <summary>True when one of the slots [<paramref name="from"/>, <paramref name="to"/>) lies in a packed child.</summary>
    public readonly bool AnyPacked(in KvLane lane, int from, int to)
    {
        if (PackedBits == 0)
            return false;
        for (int block = BlockOf(from); block * BlockSize < to; block++)
        {
            bool absent = block >= lane.FirstAbsent && block < lane.FirstAbsent + lane.Absent;
            if (!absent && lane.Table[PlaceOf(lane, block)] < 0)
                return true;
        }

        return false;
    }

    /// <summary>Checks that every slot that the step writes lies in a full block.</summary>
    /// <exception cref="ShapeException">One lies in a packed child.</exception>
    public readonly void CheckWritable()
    {
        for (int s = 0; s < Sequences && PackedBits > 0; s++)
        {
            for (int head = 0; head < KvHeads && RowsOf(s) > 0; head++)
            {
                KvLane lane = Lane(s, head);
                if (AnyPacked(lane, lane.Length, lane.Length + RowsOf(s)))
                    throw new ShapeException($"Sequence {s} writes slots [{lane.Length}, {lane.Length + RowsOf(s)}) of KV head {head} into a packed block.");
            }
        }
    }

    /// <summary>The K row of a live slot of a full block; its V row lies <see cref="HalfLaneBytes"/> further.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly byte* Key(in KvLane lane, int slot)
    {
        int block = BlockOf(slot), inBlock = slot - block * BlockSize;
        return lane.Base + (long)lane.Table[PlaceOf(lane, block)] * BlockBytes + (long)inBlock * RowBytes;
    }

    /// <summary>How many of the slots [<paramref name="slot"/>, <paramref name="to"/>) lie in one block and are alike, all live or all dead.</summary>
    /// <param name="key">K row of the first, if its block is full (<see cref="Child"/> tells); null when they are dead.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int Run(in KvLane lane, int slot, int to, out byte* key)
    {
        if (slot >= lane.GapStart && slot < lane.GapEnd)
        {
            key = null;
            return Math.Min(to, lane.GapEnd) - slot;
        }

        if (slot >= lane.HoleStart && slot < lane.HoleEnd)
        {
            key = null;
            return Math.Min(to, lane.HoleEnd) - slot;
        }

        int block = BlockOf(slot), inBlock = slot - block * BlockSize;
        key = lane.Base + (long)lane.Table[PlaceOf(lane, block)] * BlockBytes + (long)inBlock * RowBytes;
        int count = Math.Min(BlockSize - inBlock, to - slot);
        if (slot < lane.HoleStart)
            count = Math.Min(count, lane.HoleStart - slot);
        return slot < lane.GapStart ? Math.Min(count, lane.GapStart - slot) : count;
    }

    private readonly void Check(in KvBatch batch, int rows)
    {
        for (int s = 0; s < Sequences; s++)
        {
            if (RowStarts[s] < 0 || RowStarts[s + 1] < RowStarts[s] || RowStarts[s + 1] > rows)
                throw new ShapeException($"Sequence {s} owns rows [{RowStarts[s]}, {RowStarts[s + 1]}) of {rows}.");
        }

        for (int head = 0; head < KvHeads; head++)
        {
            int group = _laneGroup[head], offset = _laneOffset[head];
            if (group < 0 || group >= _groupsPerSequence || offset < 0 || offset > BlockBytes - 2 * HalfLaneBytes)
                throw new ShapeException($"KV head {head} names group {group} of {_groupsPerSequence} and byte {offset} of {BlockBytes}.");
            for (int s = 0; s < Sequences; s++)
            {
                if (RowsOf(s) == 0)
                    continue; // padding of the batch
                int* entry = _groups + ((long)s * _groupsPerSequence + group) * KvBatch.GroupFields;
                long blocks = ((long)entry[1] + RowsOf(s) + BlockSize - 1) / BlockSize - entry[6];
                if (entry[6] < 0 || (entry[6] > 0 && BlockOf(entry[2] + BlockSize - 1) + (long)entry[6] > ((long)entry[2] + entry[3]) / BlockSize))
                    throw new ShapeException($"Group {group} of sequence {s} lacks {entry[6]} blocks of a gap of {entry[3]} slots from {entry[2]}.");
                if (entry[0] < 0 || entry[1] < 0 || entry[3] < 0 || entry[0] + blocks > batch.Tables.Columns)
                    throw new ShapeException(
                        $"Group {group} of sequence {s} has {entry[1]} + {RowsOf(s)} slots from entry {entry[0]} of {batch.Tables.Columns} table entries.");
                if (entry[4] < 0 || entry[5] < 0)
                    throw new ShapeException($"Group {group} of sequence {s} has {entry[4]} sinks and a window of {entry[5]}.");
            }
        }
    }
}

/// <summary>One KV head of one sequence: where its slots lie, which are dead and which are seen.</summary>
internal unsafe struct KvLane
{
    /// <summary>The lane in block 0.</summary>
    public byte* Base;

    /// <summary>The lane in child 0 of block 0.</summary>
    public byte* Packed;

    /// <summary>Block ids; negative: packed children.</summary>
    public int* Table;

    /// <summary>Slots before this step.</summary>
    public int Length;

    /// <summary>First dead slot.</summary>
    public int GapStart;

    /// <summary>First slot after the dead ones.</summary>
    public int GapEnd;

    /// <summary>Slots before it are seen whatever the window; 0 without a window.</summary>
    public int Sinks;

    /// <summary>Slots that a row sees, its own included, besides the sinks; 0: all.</summary>
    public int Window;

    /// <summary>First block inside the gap: it and those after it may be missing in the table.</summary>
    public int FirstAbsent;

    /// <summary>Blocks that are missing there.</summary>
    public int Absent;

    /// <summary>First of the slots between sinks and window that none of the rows at hand sees: as good as dead.</summary>
    public int HoleStart;

    /// <summary>First slot after them; no hole when equal.</summary>
    public int HoleEnd;

    /// <summary>Nothing in [<paramref name="from"/>, <paramref name="to"/>) need be read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool IsDead(int from, int to) => (from >= GapStart && to <= GapEnd) || (from >= HoleStart && to <= HoleEnd);
}
