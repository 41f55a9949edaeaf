using System.Numerics;
using System.Runtime.InteropServices;

namespace InferenceService.Engine.Sampling;

/// <summary>Keeps the k most likely tokens; of equal ones the lower ids.</summary>
/// <remarks>
/// A bound first: split into sets that share no token, k of them have a maximum of at least the k-th largest maximum, so k tokens
/// score that or more, and all below it can go. Only the few that remain are ranked.
/// </remarks>
internal sealed class TopK(PrefixCut cut, int vocabulary)
{
    // Vectors of a chunk; each lane of a chunk is a set.
    private const int Depth = 32;

    private readonly float[] _maxima = new float[vocabulary / Depth + 1];

    /// <summary>Keeps exactly <paramref name="k"/> candidates; 0 or more than there are: all.</summary>
    public void Apply(Candidates candidates, int k)
    {
        if (k <= 0 || k >= candidates.Count)
            return;
        int sets = Maxima(candidates.Scores);
        if (k <= sets / 2)
            candidates.KeepAbove(cut.Find(_maxima.AsSpan(0, sets), [], (ulong)k).Threshold, int.MaxValue);
        if (k == candidates.Count)
            return;
        (float threshold, int ties) = cut.Find(candidates.Scores, [], (ulong)k);
        candidates.KeepAbove(threshold, ties);
    }

    /// <summary>Fills the maxima of the sets; what no chunk holds belongs to none.</summary>
    private int Maxima(ReadOnlySpan<float> scores)
    {
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(scores);
        int sets = 0;
        for (; vectors.Length >= Depth; vectors = vectors[Depth..])
        {
            Vector<float> most = vectors[0];
            foreach (Vector<float> other in vectors[1..Depth])
                most = Vector.ConditionalSelect(Vector.GreaterThan(other, most), other, most);
            most.CopyTo(_maxima, sets);
            sets += Vector<float>.Count;
        }

        return sets;
    }
}
