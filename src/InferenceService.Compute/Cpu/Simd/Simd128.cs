using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace InferenceService.Compute.Cpu.Simd;

/// <summary>The cross-platform API at 128 bits: SSE2, NEON, or scalar code where there is neither.</summary>
internal unsafe struct Simd128 : ISimd<Vector128<float>>
{
    public static int Width => 4;

    public static int TileRows => 3;

    public static Vector128<float> Zero => Vector128<float>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address)
    {
        if (System.Runtime.Intrinsics.X86.Sse.IsSupported)
            System.Runtime.Intrinsics.X86.Sse.Prefetch0(address);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(float* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadPartial(float* source, int count)
    {
        Vector128<float> value = Vector128<float>.Zero;
        for (int i = 0; i < count && i < 4; i++)
            value = value.WithElement(i, source[i]);
        return value;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBF16(ushort* source) =>
        (Widen(source) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadF16(ushort* source) => WidenF16(Widen(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadCodes(byte* source, int shift, int mask)
    {
        Vector128<ushort> words = Vector128.WidenLower(Vector128.CreateScalar(*(uint*)source).AsByte());
        return Vector128.ConvertToSingle((Vector128.WidenLower(words).AsInt32() >>> shift) & Vector128.Create(mask));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreCodes(byte* target, Vector128<float> value)
    {
        Vector128<int> codes = Vector128.ConvertToInt32(value);
        Vector128<ushort> words = Vector128.Narrow(codes, codes).AsUInt16();
        *(uint*)target = Vector128.Narrow(words, words).AsUInt32().ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector128<float> value) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePartial(float* target, Vector128<float> value, int count)
    {
        for (int i = 0; i < count && i < 4; i++)
            target[i] = value.GetElement(i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreBF16(ushort* target, Vector128<float> value)
    {
        Vector128<uint> bits = value.AsUInt32();
        Vector128<uint> rounded = (bits + Vector128.Create(0x7FFFu) + ((bits >> 16) & Vector128<uint>.One)) >> 16;
        Vector128<uint> nan = (bits >> 16) | Vector128.Create(0x40u);
        rounded = Vector128.ConditionalSelect(Vector128.Equals(value, value).AsUInt32(), rounded, nan);
        Narrow(target, rounded);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreF16(ushort* target, Vector128<float> value)
    {
        Vector128<uint> bits = value.AsUInt32();
        Vector128<uint> magnitude = bits & Vector128.Create(0x7FFFFFFFu);
        Vector128<uint> sign = (bits ^ magnitude) >> 16;
        Vector128<uint> normal = (magnitude - Vector128.Create(Half16.ExponentShift) + Vector128.Create(0xFFFu)
            + ((magnitude >> 13) & Vector128<uint>.One)) >> 13;
        Vector128<uint> subnormal = (magnitude.AsSingle() + Vector128.Create(0.5f)).AsUInt32() - Vector128.Create(0x3F000000u);
        Vector128<uint> half = Vector128.ConditionalSelect(
            Vector128.LessThan(magnitude, Vector128.Create(Half16.NormalFloor)), subnormal, normal);
        half = Vector128.ConditionalSelect(
            Vector128.GreaterThanOrEqual(magnitude, Vector128.Create(Half16.OverflowFloor)), Vector128.Create(Half16.Infinity), half);
        half = Vector128.ConditionalSelect(Vector128.GreaterThan(magnitude, Vector128.Create(0x7F800000u)), Vector128.Create(Half16.NaN), half);
        Narrow(target, half | sign);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> a, Vector128<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Subtract(Vector128<float> a, Vector128<float> b) => a - b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Divide(Vector128<float> a, Vector128<float> b) => a / b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) =>
        AdvSimd.IsSupported ? AdvSimd.FusedMultiplyAdd(c, a, b) : a * b + c;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Max(Vector128<float> a, Vector128<float> b) => Vector128.ConditionalSelect(Vector128.GreaterThan(a, b), a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Min(Vector128<float> a, Vector128<float> b) => Vector128.ConditionalSelect(Vector128.LessThan(a, b), a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Round(Vector128<float> a) => Vector128.Round(a, MidpointRounding.ToEven);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> PowerOfTwo(Vector128<float> n) =>
        ((Vector128.ConvertToInt32(n) + Vector128.Create(127)) << 23).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> KeepLanes(Vector128<float> value, int from, int to, Vector128<float> other)
    {
        Vector128<int> lane = Vector128<int>.Indices;
        Vector128<int> keep = Vector128.GreaterThanOrEqual(lane, Vector128.Create(from)) & Vector128.LessThan(lane, Vector128.Create(to));
        return Vector128.ConditionalSelect(keep.AsSingle(), value, other);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> a) =>
        (a.GetElement(0) + a.GetElement(2)) + (a.GetElement(1) + a.GetElement(3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d) =>
        Vector128.Create(Sum(a), Sum(b), Sum(c), Sum(d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MaxLane(Vector128<float> a) =>
        Math.Max(Math.Max(a.GetElement(0), a.GetElement(1)), Math.Max(a.GetElement(2), a.GetElement(3)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Widen(ushort* source) => Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)source).AsUInt16());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Narrow(ushort* target, Vector128<uint> value) => *(ulong*)target = Vector128.Narrow(value, value).AsUInt64().ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Columns4(
        byte* source, nint strideBytes, out Vector128<float> c0, out Vector128<float> c1, out Vector128<float> c2, out Vector128<float> c3)
    {
        float* r0 = (float*)source, r1 = (float*)(source + strideBytes);
        float* r2 = (float*)(source + 2 * strideBytes), r3 = (float*)(source + 3 * strideBytes);
        c0 = Vector128.Create(r0[0], r1[0], r2[0], r3[0]);
        c1 = Vector128.Create(r0[1], r1[1], r2[1], r3[1]);
        c2 = Vector128.Create(r0[2], r1[2], r2[2], r3[2]);
        c3 = Vector128.Create(r0[3], r1[3], r2[3], r3[3]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SplitBF16(Vector128<float> pairs, out Vector128<float> low, out Vector128<float> high)
    {
        low = (pairs.AsUInt32() << 16).AsSingle();
        high = (pairs.AsUInt32() & Vector128.Create(0xFFFF0000u)).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SplitF16(Vector128<float> pairs, out Vector128<float> low, out Vector128<float> high)
    {
        low = WidenF16(pairs.AsUInt32() & Vector128.Create(0xFFFFu));
        high = WidenF16(pairs.AsUInt32() >> 16);
    }

    /// <summary>Binary16 in the low half of every lane, high halves zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> WidenF16(Vector128<uint> half)
    {
        Vector128<uint> magnitude = half & Vector128.Create(Half16.MagnitudeMask);
        Vector128<uint> bits = (magnitude << 13) + Vector128.Create(Half16.ExponentShift);
        Vector128<float> subnormal = (bits + Vector128.Create(Half16.OneExponent)).AsSingle() - Vector128.Create(Half16.SmallestNormal);
        bits = Vector128.ConditionalSelect(
            Vector128.LessThan(magnitude, Vector128.Create(Half16.FirstNormal)), subnormal.AsUInt32(), bits);
        bits = Vector128.ConditionalSelect(
            Vector128.GreaterThanOrEqual(magnitude, Vector128.Create(Half16.Infinity)), bits + Vector128.Create(Half16.ExponentShift), bits);
        return (bits | ((half ^ magnitude) << 16)).AsSingle();
    }
}
