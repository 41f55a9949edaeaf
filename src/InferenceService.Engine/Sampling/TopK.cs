namespace InferenceService.Engine.Sampling;

/// <summary>Keeps the k most likely tokens; of equal ones the lower ids.</summary>
internal sealed class TopK(PrefixCut cut)
{
    /// <summary>Keeps exactly <paramref name="k"/> candidates; 0 or more than there are: all.</summary>
    public void Apply(Candidates candidates, int k)
    {
        if (k <= 0 || k >= candidates.Count)
            return;
        (float threshold, int ties) = cut.Find(candidates.Scores, [], (ulong)k);
        candidates.KeepAbove(threshold, ties);
    }
}
