using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>A throw-away policy: one layer keeps its first and its last tokens, by range, so that nothing moves.</summary>
internal sealed class SinkWindowPolicy(int group, int sinks, int window, Recorder? recorder = null) : IKvPolicy
{
    public string Name => "sink-window";

    public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Layer);

    public KvSelector NewSelector(in KvSelectorContext context) => new Selector(group, sinks, window, recorder);

    private sealed class Selector(int group, int sinks, int window, Recorder? recorder) : KvSelector
    {
        public override void Select(in KvObservation seen, KeepSet keep)
        {
            Assert.True(seen.ColumnSums.IsEmpty);
            ReadOnlySpan<int> positions = seen.Positions(group);
            int oldest = seen.ComputedTokens - window, end = 0;
            for (int slot = 0; slot < positions.Length; slot++)
                if (positions[slot] < oldest)
                    end = slot + 1;
            if (end > sinks)
                keep.Drop(group, sinks, end);
            recorder?.Note(seen, keep);
        }
    }
}
