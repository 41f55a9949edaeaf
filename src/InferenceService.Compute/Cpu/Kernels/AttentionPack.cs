using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Brings a tile of keys and values from their blocks into the form that <see cref="AttentionTile"/> reads.</summary>
/// <remarks>Slots that nobody sees may come along as garbage in keys (their scores are discarded) but are zero in values (0 · NaN is NaN).</remarks>
internal static unsafe class AttentionPack
{
    /// <summary>Transposes the keys of slots [from, to) of a tile: keys[d][slot − tile].</summary>
    /// <param name="gather">Room for one vector of rows, padded to 16 bytes each.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Keys<S, V, E>(in KvView cache, in KvLane lane, int tile, int from, int to, float* keys, byte* gather)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int words = (cache.RowBytes + 3) / 4;
        bool inPlace = cache.BlockSize % S.Width == 0 && cache.HalfLaneBytes >= 16; // else rows are scattered, or a load could leave the pool
        for (int slot = from - (from - tile) % S.Width; slot < to; slot += S.Width)
        {
            if (slot >= lane.GapStart && slot + S.Width <= lane.GapEnd)
                continue;
            byte* source = gather;
            nint stride = (cache.RowBytes + 15) & ~15;
            if (inPlace)
            {
                source = cache.Key(lane, slot);
                stride = cache.RowBytes;
            }
            else
            {
                for (int i = Math.Max(slot, from); i < Math.Min(slot + S.Width, to); i++)
                {
                    if (i < lane.GapStart || i >= lane.GapEnd)
                        Buffer.MemoryCopy(cache.Key(lane, i), gather + (i - slot) * stride, stride, cache.RowBytes);
                }
            }

            float* target = keys + (slot - tile);
            for (nint word = 0; word < words; word += 4)
            {
                S.Columns4(source + word * 4, stride, out V c0, out V c1, out V c2, out V c3);
                E.StoreColumn<S, V>(target, PagedAttention.KeyTile, word, c0);
                E.StoreColumn<S, V>(target, PagedAttention.KeyTile, word + 1, c1);
                E.StoreColumn<S, V>(target, PagedAttention.KeyTile, word + 2, c2);
                E.StoreColumn<S, V>(target, PagedAttention.KeyTile, word + 3, c3);
            }
        }
    }

    /// <summary>Widens the values of slots [from, to) of a tile: values[slot − tile][d]; dead slots become zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Values<S, V, E>(in KvView cache, in KvLane lane, int tile, int from, int to, float* values, int stride)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int whole = cache.HeadDim - cache.HeadDim % S.Width, rest = cache.HeadDim - whole;
        for (int slot = from; slot < to; slot++)
        {
            float* target = values + (long)(slot - tile) * stride;
            if (slot >= lane.GapStart && slot < lane.GapEnd)
            {
                new Span<float>(target, stride).Clear();
                continue;
            }

            byte* source = cache.Key(lane, slot) + cache.HalfLaneBytes;
            for (nint d = 0; d < whole; d += S.Width)
                S.Store(target + d, E.Load<S, V>(source + d * E.Size));
            if (rest > 0)
                S.Store(target + whole, Ragged.Load<S, V, E>(source + whole * E.Size, rest));
        }
    }
}
