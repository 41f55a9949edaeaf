namespace InferenceService.Compute;

/// <summary>How one block of the KV pool is laid out: [lane][K, V][slot][headDim].</summary>
/// <param name="Type">Element type of K and V.</param>
/// <param name="BlockSize">Slots a block.</param>
/// <param name="HeadDim">Elements of one K or V row.</param>
/// <param name="Lanes">Lanes (one KV head of one layer each) that share a block.</param>
public readonly record struct KvBlockFormat(DType Type, int BlockSize, int HeadDim, int Lanes)
{
    /// <summary>Bytes of the K rows (or the V rows) of one lane.</summary>
    public int HalfLaneBytes => BlockSize * HeadDim * Type.Size();

    /// <summary>Bytes of one block.</summary>
    public int BlockBytes => Lanes * 2 * HalfLaneBytes;

    /// <summary>Byte offset of a lane's K rows inside a block; its V rows follow them.</summary>
    public int LaneOffset(int lane) => lane * 2 * HalfLaneBytes;
}

/// <summary>What the cache looks like to every layer of one step: the pool, and each sequence's tables before the step.</summary>
/// <param name="Pool">u8 [blocks, <see cref="KvBlockFormat.BlockBytes"/>].</param>
/// <param name="Format">Layout of a block.</param>
/// <param name="Sequences">Sequences in the step.</param>
/// <param name="GroupsPerSequence">Groups (lanes that keep and drop together) of a sequence.</param>
/// <param name="Groups">
/// i32 [sequences × groupsPerSequence, 6], row = sequence × groupsPerSequence + group: first entry in <paramref name="Tables"/>;
/// length in slots before this step; first slot of the gap; slots in the gap; sinks; window. Slots of the gap are dead: never read,
/// whatever they hold. Under a window above 0 the row at slot i sees slots [0, sinks) and [i + 1 − window, i] only; a window of 0 is no
/// limit, and sinks then mean nothing.
/// </param>
/// <param name="Tables">i32 [1, entries]: block ids, one run per (sequence, group); they already cover the slots of this step.</param>
/// <param name="RowStarts">i32 [1, sequences + 1]: rows [RowStarts[s], RowStarts[s + 1]) of q, k and v belong to sequence s. A sequence without rows is padding: its groups are not read.</param>
/// <param name="MaxRows">Most rows of one sequence in this step (a host-side hint for work splitting).</param>
public readonly record struct KvBatch(
    Tensor Pool, KvBlockFormat Format, int Sequences, int GroupsPerSequence, Tensor Groups, Tensor Tables, Tensor RowStarts, int MaxRows)
{
    /// <summary>Columns of <see cref="Groups"/>.</summary>
    public const int GroupFields = 6;
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
