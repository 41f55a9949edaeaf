using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>What a test policy saw and what it kept, so that a dense reference can be masked the same way.</summary>
internal sealed class Recorder
{
    private readonly Dictionary<(int Group, int Computed), HashSet<int>> _kept = [];

    /// <summary>(computed tokens, lane, position) → attention sum, as observed before the selection.</summary>
    public Dictionary<(int Computed, int Lane, int Position), float> Sums { get; } = [];

    /// <summary>Called by a selector with its final answer.</summary>
    public void Note(in KvObservation seen, KeepSet keep)
    {
        for (int group = 0; group < keep.Groups; group++)
        {
            ReadOnlySpan<int> positions = seen.Positions(group);
            (int start, int end) = keep.Dropped(group);
            IEnumerable<int> slots = keep.Survivors(group) ?? Enumerable.Range(0, positions.Length).Where(slot => slot < start || slot >= end);
            var kept = new HashSet<int>();
            foreach (int slot in slots)
                if (positions[slot] >= 0)
                    kept.Add(positions[slot]);
            // A replay after preemption must repeat the decision.
            if (_kept.TryGetValue((group, seen.ComputedTokens), out HashSet<int>? before))
                Assert.Equal(before.Order(), kept.Order());
            _kept[(group, seen.ComputedTokens)] = kept;
            for (int slot = 0; slot < positions.Length && !seen.ColumnSums.IsEmpty; slot++)
                for (int lane = 0; lane < seen.Layout.LanesPerGroup && positions[slot] >= 0; lane++)
                {
                    int row = group * seen.Layout.LanesPerGroup + lane;
                    Sums[(seen.ComputedTokens, row, positions[slot])] = seen.ColumnSums[row * seen.SumStride + slot];
                }
        }
    }

    /// <summary>The mask that follows: a query after the prompt sees what the selection before it kept.</summary>
    public DenseReference.Mask Mask(TinyModel model, int promptTokens) => (layer, head, query, key) =>
        query < promptTokens || _kept[(model.Decoder.Layout.GroupOf(layer, head), query)].Contains(key);

    /// <summary>Positions kept in a group after so many tokens.</summary>
    public IReadOnlySet<int> Kept(int group, int computed) => _kept[(group, computed)];
}
