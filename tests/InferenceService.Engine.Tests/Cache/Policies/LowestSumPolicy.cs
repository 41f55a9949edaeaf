using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>A throw-away policy: every head keeps a budget of the most attended tokens, so that holes open anywhere in every step.</summary>
internal sealed class LowestSumPolicy(int budget, Recorder? recorder = null) : IKvPolicy
{
    public string Name => "lowest-sum";

    public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Head);

    /// <summary>Selectors made.</summary>
    public int Selectors { get; private set; }

    public KvSelector NewSelector(in KvSelectorContext context)
    {
        Selectors++;
        return new Selector(budget, recorder);
    }

    private sealed class Selector(int budget, Recorder? recorder) : KvSelector
    {
        public override AttentionSums Sums => AttentionSums.Columns;

        public override int FreshPromptTokens => int.MaxValue;

        public override bool Gathers => true;

        public override KvWatch Watch(int computed, int tokens) => new(AttentionSums.Columns, 0, 0, 0, 0);

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            for (int group = 0; group < keep.Groups; group++)
            {
                int[] positions = seen.Positions(group).ToArray();
                float[] sums = seen.ColumnSums.Slice(group * seen.SumStride, positions.Length).ToArray();
                keep.Restrict(group);
                int[] best = [.. Enumerable.Range(0, positions.Length).OrderByDescending(slot => sums[slot]).ThenBy(slot => positions[slot]).Take(budget).Order()];
                foreach (int slot in best)
                    keep.Keep(group, slot);
            }

            recorder?.Note(seen, keep);
        }
    }
}
