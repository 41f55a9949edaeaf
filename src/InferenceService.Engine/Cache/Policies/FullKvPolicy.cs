using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>Keeps every token: the baseline that every other policy is measured against.</summary>
internal sealed class FullKvPolicy : IKvPolicy
{
    public static KvPolicyKind Kind { get; } = new("full", "keeps every token", [], _ => new FullKvPolicy());

    public string Name => Kind.Name;

    public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Model);

    public KvSelector? NewSelector(in KvSelectorContext context) => null;
}
