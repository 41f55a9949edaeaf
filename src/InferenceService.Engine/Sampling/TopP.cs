using System.Numerics;
using System.Runtime.InteropServices;

namespace InferenceService.Engine.Sampling;

/// <summary>Keeps the smallest set of most likely tokens whose mass reaches p (nucleus sampling, arXiv:1904.09751); of equal ones the lower ids.</summary>
/// <remarks>Mass is relative to what the earlier filters left, in integers of 2⁻⁴⁰ of the most likely token's.</remarks>
internal sealed class TopP(PrefixCut cut, int vocabulary)
{
    private const double Scale = 1L << 40;

    // Scores so far below the highest rarely belong to a nucleus: e⁻⁸ is a three-thousandth.
    private const float Near = 8;

    private readonly long[] _masses = new long[vocabulary + Vector<long>.Count * 2];

    /// <summary>Keeps the nucleus of mass <paramref name="p"/>; at least one token, p = 1 keeps all.</summary>
    public void Apply(Candidates candidates, float p)
    {
        if (p >= 1)
            return;
        float max = candidates.MaxScore();
        ulong total = (ulong)Weigh(candidates.Scores, max);
        ulong target = Math.Clamp((ulong)Math.Ceiling((double)p * total), 1, total);
        if (HasMass(candidates.Scores, max - Near, target))
        {
            // The nucleus lies among these few; only they are ranked.
            candidates.KeepAbove(max - Near, int.MaxValue);
            Weigh(candidates.Scores, max);
        }

        ReadOnlySpan<float> scores = candidates.Scores;
        (float threshold, int ties) = cut.Find(scores, MemoryMarshal.Cast<long, ulong>(_masses.AsSpan(0, scores.Length)), target);
        candidates.KeepAbove(threshold, ties);
    }

    /// <summary>True when scores from <paramref name="low"/> up weigh at least <paramref name="target"/>. Leaves out the last few: at worst nothing is gained.</summary>
    private bool HasMass(ReadOnlySpan<float> scores, float low, ulong target)
    {
        var bound = new Vector<float>(low);
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(scores);
        ReadOnlySpan<Vector<long>> masses = MemoryMarshal.Cast<long, Vector<long>>(_masses);
        Vector<long> mass = Vector<long>.Zero;
        for (int v = 0; v < vectors.Length; v++)
        {
            Vector<int> near = Vector.GreaterThanOrEqual(vectors[v], bound);
            if (near == Vector<int>.Zero)
                continue;
            Vector.Widen(near, out Vector<long> first, out Vector<long> second);
            mass += (masses[2 * v] & first) + (masses[2 * v + 1] & second);
        }

        return (ulong)Vector.Sum(mass) >= target;
    }

    /// <summary>Fills the masses; returns their sum. Every score takes the same path, so that equal scores weigh the same.</summary>
    private long Weigh(ReadOnlySpan<float> scores, float max)
    {
        Vector<long> total = Vector<long>.Zero;
        Span<float> rest = stackalloc float[Vector<float>.Count];
        for (int i = 0; i < scores.Length; i += Vector<float>.Count)
        {
            scoped ReadOnlySpan<float> some = scores[i..];
            if (some.Length < rest.Length)
            {
                rest.Fill(float.NegativeInfinity);
                some.CopyTo(rest);
                some = rest;
            }

            Vector.Widen(new Vector<float>(some) - new Vector<float>(max), out Vector<double> low, out Vector<double> high);
            Vector<long> lowMass = Vector.ConvertToInt64(Vector.Exp(low) * Scale), highMass = Vector.ConvertToInt64(Vector.Exp(high) * Scale);
            lowMass.CopyTo(_masses, i);
            highMass.CopyTo(_masses, i + Vector<long>.Count);
            total += lowMass + highMass;
        }

        return Vector.Sum(total);
    }
}
