using System.Runtime.Intrinsics;

namespace InferenceService.Compute.Cpu.Simd;

/// <summary>The vector operations that kernels are written in; one implementation an instruction set.</summary>
/// <remarks>
/// A kernel is a generic method over (TSimd, TVector): the JIT compiles it once a path, with every call below one or a few
/// instructions. Kernels hold raw vectors, not wrappers, so that they stay in registers.
/// </remarks>
/// <typeparam name="TVector">Vector of floats.</typeparam>
internal unsafe interface ISimd<TVector>
    where TVector : struct
{
    /// <summary>Floats in a vector.</summary>
    static abstract int Width { get; }

    /// <summary>Rows of x that a matrix tile holds in registers: rows × 4 accumulators, rows + 1 operands.</summary>
    static abstract int TileRows { get; }

    static abstract TVector Zero { get; }

    /// <summary>Asks for a cache line that will be read soon; any address is harmless.</summary>
    static abstract void Prefetch(void* address);

    static abstract TVector Broadcast(float value);

    static abstract TVector Load(float* source);

    /// <summary>The first <paramref name="count"/> floats, then zeros; reads nothing beyond them.</summary>
    static abstract TVector LoadPartial(float* source, int count);

    /// <summary>Widens bfloat16: exact.</summary>
    static abstract TVector LoadBF16(ushort* source);

    /// <summary>Widens binary16: exact, subnormals, infinities and NaN included.</summary>
    static abstract TVector LoadF16(ushort* source);

    /// <summary>Widens bytes after shifting each right by <paramref name="shift"/> bits and keeping the bits of <paramref name="mask"/>.</summary>
    static abstract TVector LoadCodes(byte* source, int shift, int mask);

    /// <summary>Writes integral lanes in [0, 255] as bytes.</summary>
    static abstract void StoreCodes(byte* target, TVector value);

    static abstract void Store(float* target, TVector value);

    /// <summary>Writes the first <paramref name="count"/> floats only.</summary>
    static abstract void StorePartial(float* target, TVector value, int count);

    /// <summary>Rounds to nearest even; NaN stays NaN.</summary>
    static abstract void StoreBF16(ushort* target, TVector value);

    /// <summary>Rounds to nearest even; too large becomes infinity, NaN stays NaN.</summary>
    static abstract void StoreF16(ushort* target, TVector value);

    static abstract TVector Add(TVector a, TVector b);

    static abstract TVector Subtract(TVector a, TVector b);

    static abstract TVector Multiply(TVector a, TVector b);

    static abstract TVector Divide(TVector a, TVector b);

    /// <summary>a · b + c, fused where the path has it.</summary>
    static abstract TVector MultiplyAdd(TVector a, TVector b, TVector c);

    /// <summary>The larger; <paramref name="b"/> when either is NaN.</summary>
    static abstract TVector Max(TVector a, TVector b);

    /// <summary>The smaller; <paramref name="b"/> when either is NaN.</summary>
    static abstract TVector Min(TVector a, TVector b);

    /// <summary>To the nearest integer, ties to even.</summary>
    static abstract TVector Round(TVector a);

    /// <summary>2^n for integral n in [−127, 128]; the ends give 0 and infinity.</summary>
    static abstract TVector PowerOfTwo(TVector n);

    /// <summary>Lane i becomes <paramref name="other"/> unless from ≤ i &lt; to.</summary>
    static abstract TVector KeepLanes(TVector value, int from, int to, TVector other);

    /// <summary>Sum over the lanes. Order: halves are added until one lane is left.</summary>
    static abstract float Sum(TVector a);

    /// <summary>Four sums, each in the order of <see cref="Sum"/>.</summary>
    static abstract Vector128<float> Sum4(TVector a, TVector b, TVector c, TVector d);

    /// <summary>Largest lane; no lane is NaN.</summary>
    static abstract float MaxLane(TVector a);

    /// <summary>Four columns of a matrix of 32-bit words with <see cref="Width"/> rows: lane i of column c is row i's word c.</summary>
    /// <param name="source">Word 0 of row 0.</param>
    /// <param name="strideBytes">Bytes from row to row.</param>
    static abstract void Columns4(byte* source, nint strideBytes, out TVector c0, out TVector c1, out TVector c2, out TVector c3);

    /// <summary>Widens the low and the high bfloat16 of every 32-bit lane.</summary>
    static abstract void SplitBF16(TVector pairs, out TVector low, out TVector high);

    /// <summary>Widens the low and the high binary16 of every 32-bit lane.</summary>
    static abstract void SplitF16(TVector pairs, out TVector low, out TVector high);
}
