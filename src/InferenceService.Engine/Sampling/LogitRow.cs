using System.Numerics;

namespace InferenceService.Engine.Sampling;

/// <summary>What the sampler asks of a whole row of logits.</summary>
internal static class LogitRow
{
    /// <summary>The highest value; −∞ for an empty row. No NaN.</summary>
    public static float Max(ReadOnlySpan<float> row)
    {
        float max = float.NegativeInfinity;
        int i = 0;
        if (row.Length >= Vector<float>.Count)
        {
            var maxima = new Vector<float>(max);
            for (; i <= row.Length - Vector<float>.Count; i += Vector<float>.Count)
                maxima = Vector.Max(maxima, new Vector<float>(row[i..]));
            for (int lane = 0; lane < Vector<float>.Count; lane++)
                max = Math.Max(max, maxima[lane]);
        }

        for (; i < row.Length; i++)
            max = Math.Max(max, row[i]);
        return max;
    }

    /// <summary>False when a value is NaN or +∞.</summary>
    public static bool AllBelowInfinity(ReadOnlySpan<float> row)
    {
        var infinity = new Vector<float>(float.PositiveInfinity);
        int i = 0;
        for (; i <= row.Length - Vector<float>.Count; i += Vector<float>.Count)
            if (!Vector.LessThanAll(new Vector<float>(row[i..]), infinity))
                return false;
        for (; i < row.Length; i++)
            if (!(row[i] < float.PositiveInfinity))
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
