using System.Runtime.CompilerServices;

namespace InferenceService.Compute.Cpu.Simd;

/// <summary>e^x on vectors.</summary>
internal static class Exponential
{
    private const float Log2E = 1.44269504f;

    // ln 2 in two parts: n · High is exact for every n in use (Cody and Waite, "Software Manual for the Elementary Functions", 1980).
    private const float Ln2High = 0.693359375f;
    private const float Ln2Low = -2.12194440e-4f;

    // e^r ≈ 1 + r + r² · q(r) for |r| ≤ ln 2 / 2; q of degree 4 by the Remez exchange on the relative error, which is 2.7e-8 (0.45 ulp)
    // before rounding.
    private const float Q0 = 0.49999991059303284f;
    private const float Q1 = 0.16666708886623383f;
    private const float Q2 = 0.04167632758617401f;
    private const float Q3 = 0.008353537879884243f;
    private const float Q4 = 0.0013169348239898682f;

    /// <summary>
    /// e^x within 2 ulp. Exactly 1 at 0; exactly 0 below −87.7, where the result would be subnormal; infinity above 88.3; NaN stays NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exp<S, V>(V x) where S : struct, ISimd<V> where V : struct
    {
        x = S.Min(S.Broadcast(89f), S.Max(S.Broadcast(-88f), x)); // constants first: a NaN in x comes through
        V n = S.Round(S.Multiply(x, S.Broadcast(Log2E)));
        V r = S.MultiplyAdd(n, S.Broadcast(-Ln2High), x);
        r = S.MultiplyAdd(n, S.Broadcast(-Ln2Low), r);
        V q = S.MultiplyAdd(S.Broadcast(Q4), r, S.Broadcast(Q3));
        q = S.MultiplyAdd(q, r, S.Broadcast(Q2));
        q = S.MultiplyAdd(q, r, S.Broadcast(Q1));
        q = S.MultiplyAdd(q, r, S.Broadcast(Q0));
        V p = S.Add(S.MultiplyAdd(S.Multiply(r, r), q, r), S.Broadcast(1f));
        return S.Multiply(p, S.PowerOfTwo(n));
    }
}
