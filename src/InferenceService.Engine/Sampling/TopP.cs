namespace InferenceService.Engine.Sampling;

/// <summary>Keeps the smallest set of most likely tokens whose mass reaches p (nucleus sampling, arXiv:1904.09751); of equal ones the lower ids.</summary>
/// <remarks>Mass is relative to what the earlier filters left, in integers of 2⁻⁴⁰ of the most likely token's.</remarks>
internal sealed class TopP(PrefixCut cut, int vocabulary)
{
    private const double Scale = 1L << 40;
    // exp(−27.8) · 2⁴⁰ < 1: such a token weighs nothing.
    private const float Weightless = -27.8f;

    private readonly ulong[] _masses = new ulong[vocabulary];

    /// <summary>Keeps the nucleus of mass <paramref name="p"/>; at least one token, p = 1 keeps all.</summary>
    public void Apply(Candidates candidates, float p)
    {
        if (p >= 1)
            return;
        ReadOnlySpan<float> scores = candidates.Scores;
        float max = candidates.MaxScore();
        ulong total = 0;
        for (int i = 0; i < scores.Length; i++)
        {
            float below = scores[i] - max;
            ulong mass = below < Weightless ? 0 : (ulong)(Math.Exp(below) * Scale);
            _masses[i] = mass;
            total += mass;
        }

        ulong target = Math.Clamp((ulong)Math.Ceiling((double)p * total), 1, total);
        (float threshold, int ties) = cut.Find(scores, _masses.AsSpan(0, scores.Length), target);
        candidates.KeepAbove(threshold, ties);
    }
}
