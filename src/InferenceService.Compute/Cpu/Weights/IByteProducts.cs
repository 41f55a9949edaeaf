using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>The products of <see cref="ByteDot256{P}"/>, as <see cref="IByteDot{I, F}"/> states them.</summary>
internal interface IByteProducts
{
    static abstract Vector256<int> Dot(Vector256<int> sum, Vector256<int> weights, Vector256<int> x);

    static abstract Vector256<int> DotNibbles(Vector256<int> sum, Vector256<int> weights, Vector256<int> x);
}

/// <summary>Products with AVX2.</summary>
internal struct Avx2Products : IByteProducts
{
    /// <remarks>Products of words, not of bytes, because vpmaddubsw saturates: two of 255 · 127 do not fit a signed word.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> sum, Vector256<int> weights, Vector256<int> x)
    {
        Vector256<short> evenX = (x.AsInt16() << 8) >> 8, oddX = x.AsInt16() >> 8;
        Vector256<int> even = Avx2.MultiplyAddAdjacent((weights & Vector256.Create(0x00FF00FF)).AsInt16(), evenX);
        Vector256<int> odd = Avx2.MultiplyAddAdjacent((weights.AsUInt16() >>> 8).AsInt16(), oddX);
        return sum + (even + odd);
    }

    /// <remarks>Two products of at most 15 · 127 do fit.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> DotNibbles(Vector256<int> sum, Vector256<int> weights, Vector256<int> x) =>
        sum + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(weights.AsByte(), x.AsSByte()), Vector256<short>.One);
}

/// <summary>Products with AVX-VNNI.</summary>
internal struct VnniProducts : IByteProducts
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Dot(Vector256<int> sum, Vector256<int> weights, Vector256<int> x) =>
        AvxVnni.MultiplyWideningAndAdd(sum, weights.AsByte(), x.AsSByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> DotNibbles(Vector256<int> sum, Vector256<int> weights, Vector256<int> x) => Dot(sum, weights, x);
}
