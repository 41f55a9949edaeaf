namespace InferenceService.Compute;

/// <summary>How one block of the KV pool is laid out: [lane][K, V][slot][headDim].</summary>
/// <remarks>
/// Where <paramref name="PackedBits"/> is not 0 a block may instead be the parent of <see cref="ChildrenPerBlock"/> packed children, each
/// of which holds as many slots as a full block, quantised as KIVI does (arXiv:2402.02750): asymmetric min-max in groups of
/// <see cref="PackedGroup"/>, K along the slots of one channel, V along the channels of one slot (its last group may be shorter; its
/// codes take the room of a whole one). A lane of a child: [K: slots / 32][codes of each channel; scale and min of each channel], then
/// [V: codes of each slot and group; scale and min of each slot and group]. Scale and min are binary16, x ≈ code · scale + min. Codes of
/// 4 bits: byte i of a group holds element i in its low half and element i + 16 in its high half; of 8 bits: byte i is element i.
/// </remarks>
/// <param name="Type">Element type of K and V.</param>
/// <param name="BlockSize">Slots a block; a multiple of <see cref="PackedGroup"/> where blocks may be packed.</param>
/// <param name="HeadDim">Elements of one K or V row.</param>
/// <param name="Lanes">Lanes (one KV head of one layer each) that share a block.</param>
/// <param name="PackedBits">Bits of a packed element: 4 or 8; 0 = blocks are never packed.</param>
public readonly record struct KvBlockFormat(DType Type, int BlockSize, int HeadDim, int Lanes, int PackedBits = 0)
{
    /// <summary>Elements that share a scale and a min.</summary>
    public const int PackedGroup = 32;

    private const int ParameterBytes = 4; // scale and min, binary16
    private const int CacheLine = 64;

    /// <summary>Bytes of the K rows (or the V rows) of one lane.</summary>
    public int HalfLaneBytes => BlockSize * HeadDim * Type.Size();

    /// <summary>Bytes of one block of the pool: room for a full block, and for all children where blocks may be packed.</summary>
    public int BlockBytes
    {
        get
        {
            int full = Lanes * 2 * HalfLaneBytes;
            return PackedBits == 0 ? full : (Math.Max(full, ChildrenPerBlock * ChildBytes) + CacheLine - 1) / CacheLine * CacheLine;
        }
    }

    /// <summary>Byte offset of a lane's K rows inside a block; its V rows follow them.</summary>
    public int LaneOffset(int lane) => lane * 2 * HalfLaneBytes;

    /// <summary>Groups of one V row in a packed child.</summary>
    public int ChannelGroups => (HeadDim + PackedGroup - 1) / PackedGroup;

    /// <summary>Bytes of the codes of one packed group.</summary>
    public int CodeBytes => PackedGroup * PackedBits / 8;

    /// <summary>Bytes of the K groups of 32 slots of one lane of a child: codes, then scales and mins.</summary>
    public int ChildKeyBytes => HeadDim * (CodeBytes + ParameterBytes);

    /// <summary>Bytes of one lane of a child.</summary>
    public int ChildLaneBytes => BlockSize / PackedGroup * ChildKeyBytes + BlockSize * ChannelGroups * (CodeBytes + ParameterBytes);

    /// <summary>Bytes of one packed child; 0 where blocks are never packed.</summary>
    public int ChildBytes => PackedBits == 0 ? 0 : Lanes * ChildLaneBytes;

    /// <summary>Children of one parent: the whole number that wastes least; 0 where blocks are never packed.</summary>
    public int ChildrenPerBlock
    {
        get
        {
            if (PackedBits == 0)
                return 0;
            long full = 2L * Lanes * HalfLaneBytes, child = ChildBytes;
            return (int)Math.Max(1, (2 * full + child) / (2 * child));
        }
    }
}

/// <summary>What the cache looks like to every layer of one step: the pool, and each sequence's tables before the step.</summary>
/// <param name="Pool">u8 [blocks, <see cref="KvBlockFormat.BlockBytes"/>].</param>
/// <param name="Format">Layout of a block.</param>
/// <param name="Sequences">Sequences in the step.</param>
/// <param name="GroupsPerSequence">Groups (lanes that keep and drop together) of a sequence.</param>
/// <param name="Groups">
/// i32 [sequences × groupsPerSequence, 7], row = sequence × groupsPerSequence + group: first entry in <paramref name="Tables"/>;
/// length in slots before this step; first slot of the gap; slots in the gap; sinks; window; absent blocks. Slots of the gap are dead: never
/// read, whatever they hold; so many whole blocks, from the gap's first block border on, have no entry in <paramref name="Tables"/>. Slots
/// keep their numbers when blocks of the gap are given back, so that sums are taken in an order that does not depend on when. Under a window above 0 the row at slot i sees slots [0, sinks) and [i + 1 − window, i] only; a window of 0 is no
/// limit, and sinks then mean nothing.
/// </param>
/// <param name="Tables">
/// i32 [1, entries]: one run per (sequence, group), which already covers the slots of this step. Entry e ≥ 0 is block e; e &lt; 0 is packed
/// child ~e, that is child ~e % ChildrenPerBlock of block ~e / ChildrenPerBlock. Blocks that are written are never packed.
/// </param>
/// <param name="RowStarts">i32 [1, sequences + 1]: rows [RowStarts[s], RowStarts[s + 1]) of q, k and v belong to sequence s. A sequence without rows is padding: its groups are not read. Rows behind the last sequence's are padding too, in recorded steps: nothing of them is written to the cache, and what attention leaves in them means nothing.</param>
/// <param name="MaxRows">No sequence of this step, or of any replay of it, has more rows: work is divided by it.</param>
public readonly record struct KvBatch(
    Tensor Pool, KvBlockFormat Format, int Sequences, int GroupsPerSequence, Tensor Groups, Tensor Tables, Tensor RowStarts, int MaxRows)
{
    /// <summary>Columns of <see cref="Groups"/>.</summary>
    public const int GroupFields = 7;
}

/// <summary>All that a kernel knows of the cache of one layer.</summary>
/// <remarks>
/// Row r (0-based) of a sequence writes slot length + r of each of the layer's groups and sees slots [0, length + r], without the
/// gap and what lies between the group's sinks and window. Slot order inside a lane carries no meaning beyond that: keys are stored rotated.
/// </remarks>
/// <param name="Batch">The step.</param>
/// <param name="LaneGroup">i32 [1, kvHeads]: group of each KV head of this layer.</param>
/// <param name="LaneOffset">i32 [1, kvHeads]: byte offset of each KV head's lane inside a block of its group.</param>
/// <param name="Scale">Factor on q·k, usually 1/√headDim.</param>
/// <param name="Window">Sliding window of the layer, on top of the groups' own: a row sees only the last <paramref name="Window"/> slots, its own included; 0 = no window.</param>
/// <param name="ExcludeSelf">The row's own slot is not seen (LCKV, arXiv:2405.10637 §3.1: the diagonal is masked).</param>
/// <param name="SinkQueries">
/// f32 [rows, heads·headDim]: the queries once more, rotated as if no later than where a full cache of sinks and window ends. Slots before
/// the sinks' end of a group with sinks and window are scored with them (StreamingLLM, arXiv:2309.17453, without rotating cached keys
/// again). Null: q serves all.
/// </param>
public readonly record struct PagedKv(
    KvBatch Batch, Tensor LaneGroup, Tensor LaneOffset, float Scale, int Window = 0, bool ExcludeSelf = false,
    Tensor? SinkQueries = null);

/// <summary>One slot's move inside the pool: global slot = block × BlockSize + slot in block.</summary>
/// <param name="From">Global slot to read.</param>
/// <param name="To">Global slot to overwrite.</param>
public readonly record struct SlotMove(int From, int To);

/// <summary>One block that becomes a packed child; it is read only, and all its slots must hold finite numbers.</summary>
/// <param name="Block">Full block to read.</param>
/// <param name="Child">Child to write: parent × ChildrenPerBlock + index; its parent is no block that the same call reads.</param>
public readonly record struct BlockPack(int Block, int Child);
