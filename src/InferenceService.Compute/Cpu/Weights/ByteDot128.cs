using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>128-bit vectors through the cross-platform API.</summary>
internal unsafe struct ByteDot128 : IByteDot<Vector128<int>, Vector128<float>>
{
    public static int Lanes => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Load(byte* source) => Vector128.Load((int*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Broadcast(int word) => Vector128.Create(word);

    /// <remarks>A product is at most 255 · 127 and fits a signed word.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Dot(Vector128<int> sum, Vector128<int> weights, Vector128<int> x)
    {
        Vector128<short> even = (weights & Vector128.Create(0x00FF00FF)).AsInt16() * ((x.AsInt16() << 8) >> 8);
        Vector128<short> odd = (weights.AsUInt16() >>> 8).AsInt16() * (x.AsInt16() >> 8);
        return sum + (((even.AsInt32() << 16) >> 16) + (even.AsInt32() >> 16)) + (((odd.AsInt32() << 16) >> 16) + (odd.AsInt32() >> 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> DotNibbles(Vector128<int> sum, Vector128<int> weights, Vector128<int> x)
    {
        Vector128<short> even = (weights & Vector128.Create(0x00FF00FF)).AsInt16() * ((x.AsInt16() << 8) >> 8);
        Vector128<short> both = even + (weights.AsUInt16() >>> 8).AsInt16() * (x.AsInt16() >> 8); // at most 2 · 15 · 127
        return sum + (((both.AsInt32() << 16) >> 16) + (both.AsInt32() >> 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> LowNibbles(Vector128<int> bytes) => bytes & Vector128.Create(0x0F0F0F0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> HighNibbles(Vector128<int> bytes) => (bytes >>> 4) & Vector128.Create(0x0F0F0F0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat(Vector128<int> value) => Vector128.ConvertToSingle(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Splat(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadFloats(float* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadHalves(ushort* source) => Simd128.LoadF16(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) => Vector128.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector128<float> value) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Low(Vector128<int> pairs) => (pairs << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> High(Vector128<int> pairs) => (pairs & Vector128.Create(unchecked((int)0xFFFF0000))).AsSingle();
}
