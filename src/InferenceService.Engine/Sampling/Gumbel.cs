using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Engine.Sampling;

/// <summary>Draws from softmax(scores) as argmax(score + Gumbel noise): no normalisation and no prefix sum, so no order of evaluation to agree on.</summary>
/// <remarks>
/// The noise of a token is −ln(−ln x) with x = (word + ½) / 2³² and word from <see cref="Philox"/>; sums are compared in double
/// precision, equal sums go to the lower id. Two logarithms a token would cost more than the output layer of a small model, so a
/// cheap upper bound of the noise rules out nearly all tokens first: with v = 1 − x, −ln(−ln(1 − v)) ≤ −ln v.
/// </remarks>
internal static class Gumbel
{
    private const double WordScale = 1.0 / 4294967296.0;
    private const float Ln2 = 0.69314718f;
    private const float MaxNoise = 22.9f;
    private const int Neighbours = 32;
    // Covers the rounding of the bound, whose terms stay below 200.
    private const float Slack = 1e-4f;

    /// <summary>Index into <paramref name="ids"/> of the drawn token; ids ascend, scores are finite.</summary>
    public static int Draw(ReadOnlySpan<int> ids, ReadOnlySpan<float> scores, ulong key, int position)
    {
        int first = scores.IndexOf(LogitRow.Max(scores));
        var best = new Best(first, ids[first], scores[first] + Noise(Philox.Word(key, position, ids[first])));
        for (int i = 0; i < ids.Length; i++)
            if (best.CanLoseTo(scores[i], MaxNoise))
                best.Try(i, ids[i], scores[i], Philox.Word(key, position, ids[i]));
        return best.Index;
    }

    /// <summary>The token drawn from a whole row.</summary>
    /// <param name="scores">[vocabulary]; −∞ cannot be drawn, at least one score is finite.</param>
    /// <param name="key">Seed.</param>
    /// <param name="position">Position of the token to draw.</param>
    public static int DrawRow(ReadOnlySpan<float> scores, ulong key, int position)
    {
        // The most likely token first: the higher the sum to beat, the more the bound rules out.
        int first = scores.IndexOf(LogitRow.Max(scores)), id = 0;
        var best = new Best(first, first, scores[first] + Noise(Philox.Word(key, position, first)));
        for (; Avx2.IsSupported && id <= scores.Length - Neighbours; id += Neighbours)
        {
            (Vector256<uint> w0, Vector256<uint> w1, Vector256<uint> w2, Vector256<uint> w3) = Philox.Next32(key, position, id);
            TryEight(scores, id, w0, ref best);
            TryEight(scores, id + 8, w1, ref best);
            TryEight(scores, id + 16, w2, ref best);
            TryEight(scores, id + 24, w3, ref best);
        }

        for (; id < scores.Length; id++)
            if (best.CanLoseTo(scores[id], MaxNoise))
                best.Try(id, id, scores[id], Philox.Word(key, position, id));
        return best.Index;
    }

    /// <summary>Gumbel noise of a random word, in (−3.2, 22.9).</summary>
    public static double Noise(uint word) => -Math.Log(-Math.Log((word + 0.5) * WordScale));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TryEight(ReadOnlySpan<float> scores, int id, Vector256<uint> words, ref Best best)
    {
        // v ≥ n / 2³¹ with n = ⌊(2³² − 1 − word) / 2⌋, and the bits of the float n, read as an integer, are at most (log2 n + 127) · 2²³.
        Vector256<float> n = Vector256.ConvertToSingle((~words >>> 1).AsInt32());
        Vector256<float> bound = (Vector256.Create(158f) - Vector256.ConvertToSingle(n.AsInt32()) * (1f / (1 << 23))) * Ln2;
        Vector256<float> below = Vector256.Create(scores[id..]) - Vector256.Create(best.High) - Vector256.Create(best.Low);
        uint candidates = Vector256.GreaterThanOrEqual(below + bound, Vector256.Create(-Slack)).ExtractMostSignificantBits();
        for (; candidates != 0; candidates &= candidates - 1)
        {
            int lane = BitOperations.TrailingZeroCount(candidates);
            best.Try(id + lane, id + lane, scores[id + lane], words[lane]);
        }
    }

    /// <summary>The highest sum so far, also as two floats, so that differences from scores keep their digits.</summary>
    private struct Best(int index, int id, double sum)
    {
        private int _id = id;
        private double _sum = sum;

        public int Index { get; private set; } = index;

        public float High { get; private set; } = (float)sum;

        public float Low { get; private set; } = (float)(sum - (float)sum);

        public readonly bool CanLoseTo(float score, float noise) => score + (double)noise >= _sum;

        public void Try(int index, int id, float score, uint word)
        {
            double sum = score + Noise(word);
            if (sum > _sum || (sum == _sum && id < _id))
                this = new Best(index, id, sum);
        }
    }
}
