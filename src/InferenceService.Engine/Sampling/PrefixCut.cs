using System.Runtime.CompilerServices;

namespace InferenceService.Engine.Sampling;

/// <summary>Where a list sorted by score, highest first and ties by lower id, has gathered enough weight: found by radix select, without sorting.</summary>
/// <remarks>
/// Weights are integers, so their sum does not depend on the order of addition and every device cuts at the same place.
/// Three passes over the ordered bits of the scores, 11 bits each.
/// </remarks>
internal sealed class PrefixCut
{
    private const uint Buckets = 2048;
    private const int TopShift = 21;
    private const int MiddleShift = 10;

    private readonly ulong[] _histogram = new ulong[Buckets];

    /// <summary>The shortest prefix whose weight reaches <paramref name="target"/>.</summary>
    /// <param name="scores">Scores; no NaN, no −0.</param>
    /// <param name="weights">Their weights, equal for equal scores; empty = 1 each.</param>
    /// <param name="target">At least 1, at most the sum of all weights.</param>
    /// <returns>The lowest score of the prefix, and how many candidates of exactly this score belong to it.</returns>
    public (float Threshold, int Ties) Find(ReadOnlySpan<float> scores, ReadOnlySpan<ulong> weights, ulong target)
    {
        uint prefix = 0, known = 0;
        for (int pass = 0; pass < 3; pass++)
        {
            (int shift, uint bits) = pass switch { 0 => (TopShift, Buckets - 1), 1 => (MiddleShift, Buckets - 1), _ => (0, (1u << MiddleShift) - 1) };
            Count(scores, weights, prefix, known, shift, bits);
            uint bucket = bits;
            while (_histogram[bucket] < target)
                target -= _histogram[bucket--];
            prefix |= bucket << shift;
            known |= bits << shift;
        }

        float threshold = FromKey(prefix);
        return (threshold, TiesFor(scores, weights, threshold, target));
    }

    private void Count(ReadOnlySpan<float> scores, ReadOnlySpan<ulong> weights, uint prefix, uint known, int shift, uint bits)
    {
        Array.Clear(_histogram);
        for (int i = 0; i < scores.Length; i++)
        {
            uint key = Key(scores[i]);
            if ((key & known) == prefix)
                _histogram[(key >> shift) & bits] += weights.IsEmpty ? 1 : weights[i];
        }
    }

    private static int TiesFor(ReadOnlySpan<float> scores, ReadOnlySpan<ulong> weights, float threshold, ulong target)
    {
        if (weights.IsEmpty)
            return (int)target;
        ulong weight = weights[scores.IndexOf(threshold)];
        return (int)((target + weight - 1) / weight);
    }

    /// <summary>Unsigned integers in the order of the floats.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Key(float score)
    {
        uint bits = BitConverter.SingleToUInt32Bits(score);
        return bits ^ ((uint)((int)bits >> 31) | 0x80000000u);
    }

    private static float FromKey(uint key) => BitConverter.UInt32BitsToSingle((key & 0x80000000u) != 0 ? key ^ 0x80000000u : ~key);
}
