using System.Numerics;

namespace InferenceService.Engine.Sampling;

/// <summary>Draws from softmax(scores) as argmax(score + Gumbel noise): no normalisation and no prefix sum, so no order of evaluation to agree on.</summary>
/// <remarks>
/// The noise of a token is −ln(−ln x) with x = (word + ½) / 2³² and word from <see cref="Philox"/>; sums are compared in double
/// precision, equal sums go to the lower id.
/// </remarks>
internal static class Gumbel
{
    private const double WordScale = 1.0 / 4294967296.0;
    private const double Ln2 = 0.693147180559945309417;

    /// <summary>Index into <paramref name="ids"/> of the drawn token; ids ascend, scores are finite.</summary>
    public static int Draw(ReadOnlySpan<int> ids, ReadOnlySpan<float> scores, ulong key, int position)
    {
        // The most likely token first: with its noise known, most others are ruled out without a logarithm.
        int best = IndexOfMax(scores);
        double bestSum = scores[best] + Noise(Philox.Word(key, position, ids[best]));
        int block = -1;
        Philox.Words words = default;
        for (int i = 0; i < ids.Length; i++)
        {
            int id = ids[i];
            if (id >> 2 != block)
            {
                block = id >> 2;
                words = Philox.Next(key, (uint)block, (uint)position);
            }

            uint word = (id & 3) switch { 0 => words.W0, 1 => words.W1, 2 => words.W2, _ => words.W3 };
            if (scores[i] + Bound(word) < bestSum)
                continue;
            double sum = scores[i] + Noise(word);
            if (sum > bestSum || (sum == bestSum && id < ids[best]))
                (best, bestSum) = (i, sum);
        }

        return best;
    }

    /// <summary>Gumbel noise of a random word, in (−3.2, 22.9).</summary>
    public static double Noise(uint word) => -Math.Log(-Math.Log((word + 0.5) * WordScale));

    /// <summary>At least <see cref="Noise"/>: with v = 1 − x, −ln(−ln(1 − v)) ≤ −ln v, and v ≥ 2^−(leading ones + 1), a bit less for rounding.</summary>
    private static double Bound(uint word) => (BitOperations.LeadingZeroCount(~word) + 1) * Ln2 + 1e-6;

    private static int IndexOfMax(ReadOnlySpan<float> scores)
    {
        int best = 0;
        for (int i = 1; i < scores.Length; i++)
            if (scores[i] > scores[best])
                best = i;
        return best;
    }
}
