using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>A throw-away policy: groups by head, keeps every second token of one head, and looks at attention sums without need.</summary>
internal sealed class EverySecondPolicy(int group, Recorder? recorder = null) : IKvPolicy
{
    public string Name => "every-second";

    public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Head);

    public KvSelector NewSelector(in KvSelectorContext context) => new Selector(group, recorder);

    private sealed class Selector(int group, Recorder? recorder) : KvSelector
    {
        public override AttentionSums Sums => AttentionSums.Columns;

        public override int FreshPromptTokens => int.MaxValue;

        public override bool Gathers => true;

        public override KvWatch Watch(int computed, int tokens) => new(AttentionSums.Columns, 0, 0, 0, 0);

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            Assert.True(seen.PromptComplete);
            ReadOnlySpan<int> positions = seen.Positions(group);
            keep.Restrict(group);
            for (int slot = 0; slot < positions.Length; slot++)
                if (positions[slot] % 2 == 0)
                    keep.Keep(group, slot);
            CheckSums(seen);
            recorder?.Note(seen, keep);
        }

        private void CheckSums(in KvObservation seen)
        {
            for (int lane = 0; lane < seen.Layout.Groups; lane++)
            {
                if (lane == group && seen.ComputedTokens > seen.PromptTokens)
                    continue;
                double sum = 0;
                for (int slot = 0; slot < seen.Lengths[lane]; slot++)
                    sum += seen.ColumnSums[lane * seen.SumStride + slot];
                Assert.InRange(sum, seen.ComputedTokens - 1e-3, seen.ComputedTokens + 1e-3);
            }
        }
    }
}
