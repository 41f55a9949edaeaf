namespace InferenceService.Engine.Sampling;

/// <summary>Tokens that may still be drawn, ids ascending, with their scores (logits after temperature).</summary>
/// <remarks>One per sampler, reused for every row; the filters shrink it in place.</remarks>
internal sealed class Candidates(int vocabulary)
{
    private readonly int[] _ids = new int[vocabulary];
    private readonly float[] _scores = new float[vocabulary];

    /// <summary>Tokens left.</summary>
    public int Count { get; private set; }

    /// <summary>Token ids, ascending.</summary>
    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, Count);

    /// <summary>Their scores; none is −∞.</summary>
    public ReadOnlySpan<float> Scores => _scores.AsSpan(0, Count);

    /// <summary>Starts from all tokens that are not masked, at a temperature.</summary>
    public void Fill(ReadOnlySpan<float> logits, float temperature)
    {
        int count = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            // +0 makes −0 equal 0 in every order; an overflow saturates, so that differences of scores stay numbers.
            float score = Math.Clamp(logits[id] / temperature + 0f, float.NegativeInfinity, float.MaxValue);
            _ids[count] = id;
            _scores[count] = score;
            count += score == float.NegativeInfinity ? 0 : 1;
        }

        Count = count;
    }

    /// <summary>Keeps scores above <paramref name="threshold"/>, and of those equal to it the first <paramref name="ties"/>.</summary>
    public void KeepAbove(float threshold, int ties)
    {
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (_scores[i] < threshold || (_scores[i] == threshold && ties-- <= 0))
                continue;
            (_ids[kept], _scores[kept]) = (_ids[i], _scores[i]);
            kept++;
        }

        Count = kept;
    }

    /// <summary>The highest score.</summary>
    public float MaxScore()
    {
        float max = float.NegativeInfinity;
        foreach (float score in Scores)
            max = Math.Max(max, score);
        return max;
    }
}
