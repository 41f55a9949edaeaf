using System.Runtime.CompilerServices;

namespace InferenceService.Compute.Cpu.Simd;

/// <summary>A stored element type, read and written as vectors of floats.</summary>
internal unsafe interface IElement
{
    /// <summary>Bytes of one element.</summary>
    static abstract int Size { get; }

    /// <summary>True when no widening is needed.</summary>
    static abstract bool IsF32 { get; }

    /// <summary>True when widening is so cheap that doing it again for every few rows of x costs less than keeping the result.</summary>
    static abstract bool WidensCheaply { get; }

    /// <summary>Widens one vector of elements.</summary>
    static abstract V Load<S, V>(byte* source) where S : struct, ISimd<V> where V : struct;

    /// <summary>Stores a column of 32-bit words, widened, as the rows of a transposed matrix: one row, or two for 16-bit elements.</summary>
    /// <param name="word">Index of the word in its row.</param>
    static abstract void StoreColumn<S, V>(float* target, nint stride, nint word, V column) where S : struct, ISimd<V> where V : struct;

    /// <summary>Rounds one vector to the element type.</summary>
    static abstract void Store<S, V>(byte* target, V value) where S : struct, ISimd<V> where V : struct;
}

/// <summary>binary32.</summary>
internal unsafe struct F32Element : IElement
{
    public static int Size => 4;

    public static bool WidensCheaply => true;

    public static bool IsF32 => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<S, V>(byte* source) where S : struct, ISimd<V> where V : struct => S.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreColumn<S, V>(float* target, nint stride, nint word, V column) where S : struct, ISimd<V> where V : struct =>
        S.Store(target + word * stride, column);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<S, V>(byte* target, V value) where S : struct, ISimd<V> where V : struct => S.Store((float*)target, value);
}

/// <summary>binary16.</summary>
internal unsafe struct F16Element : IElement
{
    public static int Size => 2;

    public static bool WidensCheaply => false;

    public static bool IsF32 => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<S, V>(byte* source) where S : struct, ISimd<V> where V : struct => S.LoadF16((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreColumn<S, V>(float* target, nint stride, nint word, V column) where S : struct, ISimd<V> where V : struct
    {
        S.SplitF16(column, out V low, out V high);
        S.Store(target + 2 * word * stride, low);
        S.Store(target + (2 * word + 1) * stride, high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<S, V>(byte* target, V value) where S : struct, ISimd<V> where V : struct => S.StoreF16((ushort*)target, value);
}

/// <summary>bfloat16.</summary>
internal unsafe struct BF16Element : IElement
{
    public static int Size => 2;

    public static bool WidensCheaply => true;

    public static bool IsF32 => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<S, V>(byte* source) where S : struct, ISimd<V> where V : struct => S.LoadBF16((ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreColumn<S, V>(float* target, nint stride, nint word, V column) where S : struct, ISimd<V> where V : struct
    {
        S.SplitBF16(column, out V low, out V high);
        S.Store(target + 2 * word * stride, low);
        S.Store(target + (2 * word + 1) * stride, high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<S, V>(byte* target, V value) where S : struct, ISimd<V> where V : struct => S.StoreBF16((ushort*)target, value);
}

/// <summary>The ragged end of a row: whole vectors over a copy, so that nothing beyond the row is touched.</summary>
internal static unsafe class Ragged
{
    /// <summary>The first <paramref name="count"/> &lt; width elements, then zeros.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static V Load<S, V, E>(byte* source, int count) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        if (E.IsF32)
            return S.LoadPartial((float*)source, count);
        byte* copy = stackalloc byte[64];
        new Span<byte>(copy, 64).Clear();
        Buffer.MemoryCopy(source, copy, 64, count * E.Size);
        return E.Load<S, V>(copy);
    }

    /// <summary>Writes the first <paramref name="count"/> &lt; width elements.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Store<S, V, E>(byte* target, V value, int count) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        byte* copy = stackalloc byte[64];
        E.Store<S, V>(copy, value);
        Buffer.MemoryCopy(copy, target, count * E.Size, count * E.Size);
    }
}
