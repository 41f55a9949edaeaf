using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Engine.Sampling;

/// <summary>Tokens that may still be drawn, ids ascending, with their scores (logits after temperature).</summary>
/// <remarks>One per sampler, reused for every row; the filters shrink it in place. While nothing was dropped, ids are their own indices and are not stored.</remarks>
internal sealed class Candidates
{
    // Below one token in so many, looking at candidates one by one is cheaper than at the whole row.
    private const int Sparse = 16;

    private readonly int[] _all;
    private readonly int[] _ids;
    private readonly float[] _scores;
    private readonly float[] _row;
    private bool _isWhole;

    /// <summary>Room for a vocabulary.</summary>
    public Candidates(int vocabulary)
    {
        (_all, _ids, _scores, _row) = (new int[vocabulary], new int[vocabulary], new float[vocabulary], new float[vocabulary]);
        for (int id = 0; id < vocabulary; id++)
            _all[id] = id;
    }

    /// <summary>Tokens left.</summary>
    public int Count { get; private set; }

    /// <summary>Token ids, ascending.</summary>
    public ReadOnlySpan<int> Ids => (_isWhole ? _all : _ids).AsSpan(0, Count);

    /// <summary>Their scores; none is −∞.</summary>
    public ReadOnlySpan<float> Scores => _scores.AsSpan(0, Count);

    /// <summary>Starts from all tokens that are not masked, at a temperature.</summary>
    public void Fill(ReadOnlySpan<float> logits, float temperature)
    {
        bool masked = LogitRow.Scale(logits, temperature, _scores);
        (Count, _isWhole) = (logits.Length, true);
        if (masked)
            KeepAbove(float.MinValue, int.MaxValue);
    }

    /// <summary>Keeps scores above <paramref name="threshold"/>, and of those equal to it the first <paramref name="ties"/>.</summary>
    public void KeepAbove(float threshold, int ties)
    {
        ReadOnlySpan<int> ids = Ids;
        ReadOnlySpan<Vector256<float>> vectors = MemoryMarshal.Cast<float, Vector256<float>>(Scores);
        var low = Vector256.Create(threshold);
        int kept = 0;
        for (int v = 0; v < vectors.Length; v++)
        {
            // Filters leave few of many, so nearly every vector ends here. What is kept moves down, never past where it is read.
            uint mask = Vector256.GreaterThanOrEqual(vectors[v], low).ExtractMostSignificantBits();
            for (; mask != 0; mask &= mask - 1)
                kept = Keep(ids, v * Vector256<float>.Count + BitOperations.TrailingZeroCount(mask), threshold, ref ties, kept);
        }

        for (int i = vectors.Length * Vector256<float>.Count; i < ids.Length; i++)
            if (_scores[i] >= threshold)
                kept = Keep(ids, i, threshold, ref ties, kept);
        (Count, _isWhole) = (kept, false);
    }

    private int Keep(ReadOnlySpan<int> ids, int index, float threshold, ref int ties, int kept)
    {
        float score = _scores[index];
        if (score == threshold && ties-- <= 0)
            return kept;
        (_ids[kept], _scores[kept]) = (ids[index], score);
        return kept + 1;
    }

    /// <summary>The highest score.</summary>
    public float MaxScore() => LogitRow.Max(Scores);

    /// <summary>[vocabulary] scores by token id, −∞ for those that were dropped. Valid until the next call.</summary>
    public ReadOnlySpan<float> Row()
    {
        if (_isWhole)
            return Scores;
        Array.Fill(_row, float.NegativeInfinity);
        for (int i = 0; i < Count; i++)
            _row[_ids[i]] = _scores[i];
        return _row;
    }

    /// <summary>One token, drawn in proportion to exp(score).</summary>
    public int Draw(ulong key, int position) =>
        Count > _all.Length / Sparse ? Gumbel.DrawRow(Row(), key, position) : _ids[Gumbel.Draw(Ids, Scores, key, position)];
}
