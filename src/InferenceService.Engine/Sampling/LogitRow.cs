using System.Numerics;
using System.Runtime.InteropServices;

namespace InferenceService.Engine.Sampling;

/// <summary>What the sampler asks of a whole row of logits.</summary>
internal static class LogitRow
{
    /// <summary>The highest value; −∞ for an empty row. No NaN.</summary>
    public static float Max(ReadOnlySpan<float> row)
    {
        float max = float.NegativeInfinity;
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(row);
        // Several maxima at once: one alone would wait for itself at every vector.
        Vector<float> first = new(max), second = first, third = first, fourth = first;
        int v = 0;
        for (; v <= vectors.Length - 4; v += 4)
        {
            first = Vector.Max(first, vectors[v]);
            second = Vector.Max(second, vectors[v + 1]);
            third = Vector.Max(third, vectors[v + 2]);
            fourth = Vector.Max(fourth, vectors[v + 3]);
        }

        for (; v < vectors.Length; v++)
            first = Vector.Max(first, vectors[v]);
        first = Vector.Max(Vector.Max(first, second), Vector.Max(third, fourth));
        for (int lane = 0; lane < Vector<float>.Count; lane++)
            max = Math.Max(max, first[lane]);
        foreach (float score in row[(vectors.Length * Vector<float>.Count)..])
            max = Math.Max(max, score);
        return max;
    }

    /// <summary>False when a value is NaN or +∞.</summary>
    public static bool AllBelowInfinity(ReadOnlySpan<float> row)
    {
        var infinity = new Vector<float>(float.PositiveInfinity);
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(row);
        foreach (Vector<float> some in vectors)
            if (!Vector.LessThanAll(some, infinity))
                return false;
        foreach (float one in row[(vectors.Length * Vector<float>.Count)..])
            if (!(one < float.PositiveInfinity))
                return false;
        return true;
    }

    /// <summary>scores = logits / temperature, never −0 and at most the largest float.</summary>
    /// <returns>True when a score is −∞.</returns>
    public static bool Scale(ReadOnlySpan<float> logits, float temperature, Span<float> scores)
    {
        Vector<float> divisor = new(temperature), most = new(float.MaxValue), impossible = new(float.NegativeInfinity);
        bool masked = false;
        int i = 0;
        for (; i <= logits.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            // +0 makes −0 equal 0 in every order; a saturated overflow keeps differences of scores numbers.
            Vector<float> score = Vector.Min((new Vector<float>(logits[i..]) / divisor) + Vector<float>.Zero, most);
            masked |= Vector.EqualsAny(score, impossible);
            score.CopyTo(scores[i..]);
        }

        for (; i < logits.Length; i++)
        {
            scores[i] = Math.Min(logits[i] / temperature + 0f, float.MaxValue);
            masked |= scores[i] == float.NegativeInfinity;
        }

        return masked;
    }
}
