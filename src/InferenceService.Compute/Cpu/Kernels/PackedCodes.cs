using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Reads packed children: codes become floats in registers on their way into the tile that <see cref="AttentionTile"/> reads.</summary>
/// <remarks>
/// A packed key lies as the tile wants it, channel by channel, so it needs no transposition. Each element is code · scale + min whoever
/// reads it, so a row's bits do not depend on how a tile came about.
/// </remarks>
internal static unsafe class PackedCodes
{
    private const int Half = KvBlockFormat.PackedGroup / 2;

    /// <summary>Floats for the scales and mins of what one call reads: a K group of every channel, or a tile of V rows.</summary>
    public static long ParameterFloats(int headDim)
    {
        long groups = (headDim + KvBlockFormat.PackedGroup - 1) / KvBlockFormat.PackedGroup;
        return 2 * Math.Max(headDim, PagedAttention.KeyTile * groups);
    }

    /// <summary>The keys of 32 slots: keys[d][slot − first], rows <see cref="PagedAttention.KeyTile"/> floats apart.</summary>
    /// <param name="child">The lane of the packed child.</param>
    /// <param name="first">First slot; a multiple of 32.</param>
    /// <param name="parameters">Room for <see cref="ParameterFloats"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Keys<S, V>(in KvView cache, in KvLane lane, byte* child, int first, float* keys, float* parameters)
        where S : struct, ISimd<V> where V : struct
    {
        int next = first + PagedAttention.KeyTile;
        byte* ahead = next < lane.Length ? cache.Child(lane, next) : null;
        ahead = ahead == null ? child : ahead + KeyGroup(cache, next);
        child += KeyGroup(cache, first);
        if (cache.PackedBits == 4)
            Keys<S, V, Bits4>(child, ahead, cache.HeadDim, keys, parameters);
        else
            Keys<S, V, Bits8>(child, ahead, cache.HeadDim, keys, parameters);
    }

    /// <summary>The values of some slots of one child: values[i][d], pad columns finite.</summary>
    /// <param name="child">The lane of the packed child.</param>
    /// <param name="slot">First slot, counted from the child's first.</param>
    /// <param name="count">Slots, <see cref="PagedAttention.KeyTile"/> at most.</param>
    /// <param name="stride">Floats from row to row: headDim rounded up to 16.</param>
    /// <param name="parameters">Room for <see cref="ParameterFloats"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values<S, V>(in KvView cache, byte* child, int slot, int count, float* values, int stride, float* parameters)
        where S : struct, ISimd<V> where V : struct
    {
        child += (nint)(cache.BlockSize / KvBlockFormat.PackedGroup) * cache.ChildKeyBytes;
        if (cache.PackedBits == 4)
            Values<S, V, Bits4>(child, cache.BlockSize, cache.HeadDim, slot, count, values, stride, parameters);
        else
            Values<S, V, Bits8>(child, cache.BlockSize, cache.HeadDim, slot, count, values, stride, parameters);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Keys<S, V, C>(byte* group, byte* ahead, int headDim, float* keys, float* parameters)
        where S : struct, ISimd<V> where V : struct where C : struct, ICodes
    {
        Widen<S, V>((ushort*)(group + (nint)headDim * C.Bytes), 2 * headDim, parameters);
        for (nint d = 0; d < headDim; d++, group += C.Bytes, ahead += C.Bytes, keys += PagedAttention.KeyTile)
        {
            S.Prefetch(ahead);
            V scale = S.Broadcast(parameters[2 * d]), min = S.Broadcast(parameters[2 * d + 1]);
            for (int i = 0; i < Half; i += S.Width)
            {
                S.Store(keys + i, S.MultiplyAdd(C.Low<S, V>(group + i), scale, min));
                S.Store(keys + Half + i, S.MultiplyAdd(C.High<S, V>(group + i), scale, min));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values<S, V, C>(byte* rows, int blockSize, int headDim, int slot, int count, float* values, int stride, float* parameters)
        where S : struct, ISimd<V> where V : struct where C : struct, ICodes
    {
        int groups = (headDim + KvBlockFormat.PackedGroup - 1) / KvBlockFormat.PackedGroup;
        Widen<S, V>((ushort*)(rows + (nint)blockSize * groups * C.Bytes) + 2L * slot * groups, 2 * count * groups, parameters);
        rows += (nint)slot * groups * C.Bytes;
        for (int row = 0; row < count; row++, values += stride)
        {
            for (int d = 0; d < stride; d += KvBlockFormat.PackedGroup, rows += C.Bytes, parameters += 2)
            {
                V scale = S.Broadcast(parameters[0]), min = S.Broadcast(parameters[1]);
                for (int i = 0; i < Half; i += S.Width)
                    S.Store(values + d + i, S.MultiplyAdd(C.Low<S, V>(rows + i), scale, min));
                for (int i = 0; i < Half && d + Half < stride; i += S.Width)
                    S.Store(values + d + Half + i, S.MultiplyAdd(C.High<S, V>(rows + i), scale, min));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Widen<S, V>(ushort* halfs, int count, float* floats) where S : struct, ISimd<V> where V : struct
    {
        int i = 0;
        for (; i <= count - S.Width; i += S.Width)
            S.Store(floats + i, S.LoadF16(halfs + i));
        if (i < count)
            S.StorePartial(floats + i, Ragged.Load<S, V, F16Element>((byte*)(halfs + i), count - i), count - i);
    }

    /// <summary>Bytes before the K groups of a slot's 32 slots.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nint KeyGroup(in KvView cache, int slot) => (nint)(slot % cache.BlockSize / KvBlockFormat.PackedGroup) * cache.ChildKeyBytes;
}

/// <summary>How the codes of a group of 32 lie in its bytes; known to the JIT.</summary>
internal unsafe interface ICodes
{
    /// <summary>Bytes of a group's codes.</summary>
    static abstract int Bytes { get; }

    /// <summary>The largest code.</summary>
    static abstract int Levels { get; }

    /// <summary>A vector of codes of elements 0 to 15; <paramref name="at"/> = the group's bytes + index.</summary>
    static abstract V Low<S, V>(byte* at) where S : struct, ISimd<V> where V : struct;

    /// <summary>The codes 16 further.</summary>
    static abstract V High<S, V>(byte* at) where S : struct, ISimd<V> where V : struct;

    /// <summary>Writes two vectors of codes, 16 elements apart.</summary>
    static abstract void Store<S, V>(byte* at, V low, V high) where S : struct, ISimd<V> where V : struct;
}

/// <summary>Two codes a byte.</summary>
internal unsafe struct Bits4 : ICodes
{
    public static int Bytes => 16;

    public static int Levels => 15;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Low<S, V>(byte* at) where S : struct, ISimd<V> where V : struct => S.LoadCodes(at, 0, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V High<S, V>(byte* at) where S : struct, ISimd<V> where V : struct => S.LoadCodes(at, 4, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<S, V>(byte* at, V low, V high) where S : struct, ISimd<V> where V : struct =>
        S.StoreCodes(at, S.MultiplyAdd(high, S.Broadcast(16), low));
}

/// <summary>One code a byte.</summary>
internal unsafe struct Bits8 : ICodes
{
    public static int Bytes => 32;

    public static int Levels => 255;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Low<S, V>(byte* at) where S : struct, ISimd<V> where V : struct => S.LoadCodes(at, 0, 255);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V High<S, V>(byte* at) where S : struct, ISimd<V> where V : struct => S.LoadCodes(at + 16, 0, 255);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<S, V>(byte* at, V low, V high) where S : struct, ISimd<V> where V : struct
    {
        S.StoreCodes(at, low);
        S.StoreCodes(at + 16, high);
    }
}
