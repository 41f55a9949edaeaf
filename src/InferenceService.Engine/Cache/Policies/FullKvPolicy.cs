using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>Keeps every token: the baseline that every other policy is measured against.</summary>
internal sealed class FullKvPolicy : IKvPolicy
{
    public string Name => "full";

    public AttentionSums Needs => AttentionSums.None;

    public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Model);

    public KvSelector? NewSelector(ModelConfig model) => null;
}
