using System.Runtime.CompilerServices;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Brings a tile of keys and values from their blocks into the form that <see cref="AttentionTile"/> reads.</summary>
/// <remarks>Slots that nobody sees may come along as garbage in keys (their scores are discarded) but are zero in values (0 · NaN is NaN).</remarks>
internal static unsafe class AttentionPack
{
    /// <summary>Transposes the keys of slots [from, to) of a tile: keys[d][slot − tile].</summary>
    /// <param name="gather">Room for one vector of rows, padded to 16 bytes each, and for the scales and mins of 64 packed groups.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Keys<S, V, E>(in KvView cache, in KvLane lane, int tile, int from, int to, float* keys, byte* gather)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int words = (cache.RowBytes + 3) / 4;
        bool inPlace = cache.BlockSize % S.Width == 0 && cache.HalfLaneBytes >= 16; // else rows are scattered, or a load could leave the pool
        for (int slot = from - (from - tile) % S.Width; slot < to; slot += S.Width)
        {
            if (lane.IsDead(slot, slot + S.Width))
                continue;
            if (cache.Child(lane, slot) is var child && child != null)
            {
                int first = slot & -KvBlockFormat.PackedGroup;
                PackedCodes.Keys<S, V>(cache, lane, child, first, keys + (first - tile), (float*)gather);
                slot = first + KvBlockFormat.PackedGroup - S.Width;
                continue;
            }

            byte* source = gather;
            nint stride = (cache.RowBytes + 15) & ~15;
            if (inPlace)
            {
                source = cache.Key(lane, slot);
                stride = cache.RowBytes;
            }
            else
            {
                Gather(cache, lane, Math.Max(slot, from), Math.Min(slot + S.Width, to), gather - slot * stride, stride);
            }

            float* target = keys + (slot - tile);
            byte* ahead = Ahead(cache, lane, slot, source);
            for (nint word = 0; word < words; word += 4, ahead += 16 * S.Width)
            {
                for (int line = 0; line < 16 * S.Width; line += 64)
                    S.Prefetch(ahead + line);
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
    public static void Values<S, V, E>(in KvView cache, in KvLane lane, int tile, int from, int to, float* values, int stride, byte* gather)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int whole = cache.HeadDim - cache.HeadDim % S.Width, rest = cache.HeadDim - whole, run;
        for (int slot = from; slot < to; slot += run)
        {
            run = cache.Run(lane, slot, to, out byte* source);
            float* target = values + (long)(slot - tile) * stride;
            if (source == null)
            {
                new Span<float>(target, run * stride).Clear();
                continue;
            }

            if (cache.Child(lane, slot) is var child && child != null)
            {
                PackedCodes.Values<S, V>(cache, child, slot % cache.BlockSize, run, target, stride, (float*)gather);
                continue;
            }

            byte* ahead = Ahead(cache, lane, slot, source) + cache.HalfLaneBytes;
            source += cache.HalfLaneBytes;
            for (int i = 0; i < run; i++, source += cache.RowBytes, ahead += cache.RowBytes, target += stride)
            {
                for (nint d = 0; d < whole; d += S.Width)
                {
                    S.Prefetch(ahead + d * E.Size);
                    S.Store(target + d, E.Load<S, V>(source + d * E.Size));
                }

                if (rest > 0)
                    S.Store(target + whole, Ragged.Load<S, V, E>(source + whole * E.Size, rest));
            }
        }
    }

    /// <summary>Asks for the values that lie one tile further.</summary>
    /// <param name="key">K row of <paramref name="slot"/>, the first of a run of <paramref name="count"/> slots.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PrefetchValues<S, V>(in KvView cache, in KvLane lane, int slot, int count, byte* key) where S : struct, ISimd<V> where V : struct
    {
        byte* ahead = Ahead(cache, lane, slot, key) + cache.HalfLaneBytes, end = ahead + (long)count * cache.RowBytes;
        if (ahead != key + cache.HalfLaneBytes)
        {
            for (; ahead < end; ahead += 64)
                S.Prefetch(ahead);
        }
    }

    /// <summary>Copies the key rows of slots [from, to) to target + slot · stride.</summary>
    private static void Gather(in KvView cache, in KvLane lane, int from, int to, byte* target, nint stride)
    {
        int run;
        for (int slot = from; slot < to; slot += run)
        {
            run = cache.Run(lane, slot, to, out byte* source);
            for (int i = 0; i < run && source != null; i++)
                Buffer.MemoryCopy(source + (long)i * cache.RowBytes, target + (slot + i) * stride, stride, cache.RowBytes);
        }
    }

    /// <summary>The key row one tile further, which is read soon; <paramref name="here"/> where the sequence ends.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Ahead(in KvView cache, in KvLane lane, int slot, byte* here)
    {
        slot += PagedAttention.KeyTile;
        return slot < lane.Length && !lane.IsDead(slot, slot + 1) && cache.Child(lane, slot) == null ? cache.Key(lane, slot) : here;
    }
}
