using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu.Simd;

/// <summary>AVX2 with FMA: 8 floats, 16 registers.</summary>
internal unsafe struct Simd256 : ISimd<Vector256<float>>
{
    public static int Width => 8;

    public static int TileRows => 3;

    public static Vector256<float> Zero => Vector256<float>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address) => Sse.Prefetch0(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(float* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadPartial(float* source, int count) =>
        Avx.MaskLoad(source, FirstLanes(count));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBF16(ushort* source) =>
        (Avx2.ConvertToVector256Int32(source) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadF16(ushort* source) => WidenF16(Avx2.ConvertToVector256Int32(source).AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadCodes(byte* source, int shift, int mask) =>
        Avx.ConvertToVector256Single((Avx2.ConvertToVector256Int32(source) >>> shift) & Vector256.Create(mask));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreCodes(byte* target, Vector256<float> value)
    {
        Vector256<int> codes = Avx.ConvertToVector256Int32(value);
        Vector128<short> words = Vector128.Narrow(codes.GetLower(), codes.GetUpper());
        *(ulong*)target = Vector128.Narrow(words.AsUInt16(), words.AsUInt16()).AsUInt64().ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector256<float> value) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePartial(float* target, Vector256<float> value, int count) =>
        Avx.MaskStore(target, FirstLanes(count), value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreBF16(ushort* target, Vector256<float> value)
    {
        Vector256<uint> bits = value.AsUInt32();
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + ((bits >> 16) & Vector256<uint>.One)) >> 16;
        Vector256<uint> nan = (bits >> 16) | Vector256.Create(0x40u);
        rounded = Vector256.ConditionalSelect(Vector256.Equals(value, value).AsUInt32(), rounded, nan);
        Narrow(rounded).Store(target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreF16(ushort* target, Vector256<float> value)
    {
        Vector256<uint> bits = value.AsUInt32();
        Vector256<uint> magnitude = bits & Vector256.Create(0x7FFFFFFFu);
        Vector256<uint> sign = (bits ^ magnitude) >> 16;
        Vector256<uint> normal = (magnitude - Vector256.Create(Half16.ExponentShift) + Vector256.Create(0xFFFu)
            + ((magnitude >> 13) & Vector256<uint>.One)) >> 13;
        Vector256<uint> subnormal = (magnitude.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(0x3F000000u);
        Vector256<uint> half = Vector256.ConditionalSelect(
            Vector256.LessThan(magnitude, Vector256.Create(Half16.NormalFloor)), subnormal, normal);
        half = Vector256.ConditionalSelect(
            Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(Half16.OverflowFloor)), Vector256.Create(Half16.Infinity), half);
        half = Vector256.ConditionalSelect(Vector256.GreaterThan(magnitude, Vector256.Create(0x7F800000u)), Vector256.Create(Half16.NaN), half);
        Narrow(half | sign).Store(target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> a, Vector256<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Subtract(Vector256<float> a, Vector256<float> b) => a - b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Divide(Vector256<float> a, Vector256<float> b) => a / b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) =>
        Fma.MultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Max(Vector256<float> a, Vector256<float> b) => Avx.Max(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Min(Vector256<float> a, Vector256<float> b) => Avx.Min(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Round(Vector256<float> a) => Avx.RoundToNearestInteger(a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> PowerOfTwo(Vector256<float> n) =>
        ((Avx.ConvertToVector256Int32(n) + Vector256.Create(127)) << 23).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> KeepLanes(Vector256<float> value, int from, int to, Vector256<float> other)
    {
        Vector256<int> lane = Vector256<int>.Indices;
        Vector256<int> keep = Vector256.GreaterThanOrEqual(lane, Vector256.Create(from)) & Vector256.LessThan(lane, Vector256.Create(to));
        return Vector256.ConditionalSelect(keep.AsSingle(), value, other);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> a) => Simd128.Sum(a.GetLower() + a.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
    {
        Vector256<float> ab = Avx.Permute2x128(a, b, 0x20) + Avx.Permute2x128(a, b, 0x31); // 4 lanes of a, 4 of b
        Vector256<float> cd = Avx.Permute2x128(c, d, 0x20) + Avx.Permute2x128(c, d, 0x31);
        Vector256<float> pairs = Avx.Shuffle(ab, cd, 0x44) + Avx.Shuffle(ab, cd, 0xEE); // a a c c | b b d d
        pairs += Avx.Permute(pairs, 0xB1);
        return Sse41.Blend(pairs.GetLower(), pairs.GetUpper(), 0b1010);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MaxLane(Vector256<float> a) => Simd128.MaxLane(Sse.Max(a.GetLower(), a.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> Narrow(Vector256<uint> value) =>
        Sse41.PackUnsignedSaturate(value.GetLower().AsInt32(), value.GetUpper().AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> FirstLanes(int count) =>
        Vector256.LessThan(Vector256<int>.Indices, Vector256.Create(count)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Columns4(
        byte* source, nint strideBytes, out Vector256<float> c0, out Vector256<float> c1, out Vector256<float> c2, out Vector256<float> c3)
    {
        // Lane of 128 bits b of r_i: four words of row 4b + i. Transposing 4 × 4 inside the lanes leaves the rows in order.
        Vector256<float> r0 = Rows(source, strideBytes), r1 = Rows(source + strideBytes, strideBytes);
        Vector256<float> r2 = Rows(source + 2 * strideBytes, strideBytes), r3 = Rows(source + 3 * strideBytes, strideBytes);
        Vector256<float> t0 = Avx.UnpackLow(r0, r1), t1 = Avx.UnpackHigh(r0, r1);
        Vector256<float> t2 = Avx.UnpackLow(r2, r3), t3 = Avx.UnpackHigh(r2, r3);
        c0 = Avx.Shuffle(t0, t2, 0x44);
        c1 = Avx.Shuffle(t0, t2, 0xEE);
        c2 = Avx.Shuffle(t1, t3, 0x44);
        c3 = Avx.Shuffle(t1, t3, 0xEE);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SplitBF16(Vector256<float> pairs, out Vector256<float> low, out Vector256<float> high)
    {
        low = (pairs.AsUInt32() << 16).AsSingle();
        high = (pairs.AsUInt32() & Vector256.Create(0xFFFF0000u)).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SplitF16(Vector256<float> pairs, out Vector256<float> low, out Vector256<float> high)
    {
        low = WidenF16(pairs.AsUInt32() & Vector256.Create(0xFFFFu));
        high = WidenF16(pairs.AsUInt32() >> 16);
    }

    /// <summary>Four words of rows 0 and 4.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Rows(byte* source, nint strideBytes) =>
        Vector256.Create(Vector128.Load((float*)source), Vector128.Load((float*)(source + 4 * strideBytes)));

    /// <summary>Binary16 in the low half of every lane, high halves zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> WidenF16(Vector256<uint> half)
    {
        Vector256<uint> magnitude = half & Vector256.Create(Half16.MagnitudeMask);
        Vector256<uint> bits = (magnitude << 13) + Vector256.Create(Half16.ExponentShift);
        Vector256<float> subnormal = (bits + Vector256.Create(Half16.OneExponent)).AsSingle() - Vector256.Create(Half16.SmallestNormal);
        bits = Vector256.ConditionalSelect(
            Vector256.LessThan(magnitude, Vector256.Create(Half16.FirstNormal)), subnormal.AsUInt32(), bits);
        bits = Vector256.ConditionalSelect(
            Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(Half16.Infinity)), bits + Vector256.Create(Half16.ExponentShift), bits);
        return (bits | ((half ^ magnitude) << 16)).AsSingle();
    }
}
