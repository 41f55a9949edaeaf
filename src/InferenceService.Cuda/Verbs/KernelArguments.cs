using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Cuda.Verbs;

// The C# twins of the parameter structs in Kernels/*.cu: same fields, same order, device addresses as ulong. Sizes are compared with the
// compiled kernels' when a module is loaded. Strides are in elements.

[StructLayout(LayoutKind.Sequential)]
internal struct EmbedArguments
{
    public ulong Table, Ids, Output, Fault;
    public long TableStride, OutputStride;
    public int Type, Columns, Entries;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NormArguments
{
    public ulong Add, X, Weight, Output;
    public long AddStride, XStride, OutputBytes;
    public int Type, Columns;
    public float Epsilon;
    public int Form;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AddArguments
{
    public ulong X, Target;
    public long XStride, TargetStride;
    public int Type, Columns;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SiluArguments
{
    public ulong Gate, Up, Output;
    public long GateStride, UpStride, OutputBytes;
    public int Columns, Form;
}

[StructLayout(LayoutKind.Sequential)]
internal struct RopeArguments
{
    public ulong X, CosSin;
    public long XStride, CosSinStride;
    public int Columns, HeadDim, Half;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct OperandArguments
{
    public ulong X, Output;
    public long XStride, OutputBytes;
    public int Columns, Form;
}

[StructLayout(LayoutKind.Sequential)]
internal struct ProductArguments
{
    public ulong X, Weight, Output;
    public long XStride, WeightStride, OutputStride;
    public int Rows, Inner, Columns;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SkinnyArguments
{
    public ulong X, Weight, Output;
    public long XBytes, WeightBytes, OutputStride;
    public int Rows, Inner, Columns;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct IntegerArguments
{
    public ulong Codes, Weight, Output;
    public long CodeBytes, WeightBytes, OutputStride;
    public int Rows, Inner, Columns;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SampleArguments
{
    public ulong Logits, Orders, Changes, Tokens, Next, Fault;
    public long Stride;
    public int Rows, Vocabulary, Entries, NextRows;
}

/// <summary>How a block is laid out, as part of other structs: <see cref="KvBlockFormat"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct FormatArguments(in KvBlockFormat format)
{
    public readonly int BlockSize = format.BlockSize, HeadDim = format.HeadDim, Type = (int)format.Type, HalfLaneBytes = format.HalfLaneBytes;
    public readonly int PackedBits = format.PackedBits, ChildrenPerBlock = format.ChildrenPerBlock, ChildBytes = format.ChildBytes;
    public readonly int ChildLaneBytes = format.ChildLaneBytes;
}

/// <summary>The cache of one layer: <see cref="PagedKv"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CacheArguments(in PagedKv cache, int rows, FaultRecord fault)
{
    public ulong Pool = CudaBackend.Address(cache.Batch.Pool), Groups = CudaBackend.Address(cache.Batch.Groups), Tables = CudaBackend.Address(cache.Batch.Tables);
    public ulong RowStarts = CudaBackend.Address(cache.Batch.RowStarts), LaneGroup = CudaBackend.Address(cache.LaneGroup);
    public ulong LaneOffset = CudaBackend.Address(cache.LaneOffset), Fault = fault.Address;
    public long BlockBytes = cache.Batch.Format.BlockBytes;
    public int Sequences = cache.Batch.Sequences, GroupsPerSequence = cache.Batch.GroupsPerSequence, TableEntries = cache.Batch.Tables.Columns;
    public int KvHeads = cache.LaneGroup.Columns, Blocks = cache.Batch.Pool.Rows;
    public FormatArguments Format = new(cache.Batch.Format);
    public int Window = cache.Window, ExcludeSelf = cache.ExcludeSelf ? 1 : 0, Rows = rows;
}

[StructLayout(LayoutKind.Sequential)]
internal struct WriteArguments
{
    public CacheArguments Cache;
    public ulong K, V;
    public long KStride, VStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct RotateArguments
{
    public WriteArguments Write;
    public ulong Q, K, CosSin;
    public long QStride, CosSinStride;
    public int Heads, Half;
}

[StructLayout(LayoutKind.Sequential)]
internal struct MoveArguments
{
    public ulong Pool, Moves;
    public long BlockBytes;
    public int Count, BlockSize, HalfLaneBytes, RowUnits;
}

[StructLayout(LayoutKind.Sequential)]
internal struct PackArguments
{
    public ulong Pool, Packs;
    public long BlockBytes;
    public FormatArguments Format;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AttentionArguments
{
    public CacheArguments Cache;
    public ulong Q, SinkQueries, Output, Statistics, SequenceRow, Observed;
    public long QStride, SinkStride, OutputStride;
    public float Scale;
    public int Group, RowsPerTile, LayerRow, Wanted;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SplitArguments
{
    public AttentionArguments Attention;
    public ulong Parts, Plan, Tiles;
    public int Splits, Least, Most, RowsEach;
}

[StructLayout(LayoutKind.Sequential)]
internal struct PlanArguments
{
    public CacheArguments Cache;
    public ulong Plan, Tiles;
    public int Target, Most, MostSplits, Least, RowsPerTile;
    private readonly int _padding;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SumArguments
{
    public AttentionArguments Attention;
    public ulong Columns, Band, Range;
    public long ColumnStride, BandStride, RangeStride, HeadRows;
    public int ColumnRows, ColumnSlots, BandRows, BandSlots, RangeRows;
    private readonly int _padding;
}
