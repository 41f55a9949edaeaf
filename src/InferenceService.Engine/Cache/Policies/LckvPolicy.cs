using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>
/// Layer-condensed KV cache (arXiv:2405.10637) and every other sharing between layers that a checkpoint's <c>layer_types</c> states
/// (arXiv:2410.14442): keeps every token, but only of the layers that are read.
/// </summary>
/// <remarks>
/// Which layers share is a property of the weights, so there is nothing to choose; every policy's layout follows it. This one refuses
/// a checkpoint that shares nothing.
/// Deviation: the paper runs a fixed number of passes over a prompt; here it is cut into chunks, which is more exact, and a chunk's
/// passes end when K and V of the layers that are read from below have settled.
/// </remarks>
internal sealed class LckvPolicy : IKvPolicy
{
    public static KvPolicyKind Kind { get; } = new("lckv", "keeps every token of the layers that others read; for checkpoints that share caches between layers", [], _ => new LckvPolicy());

    public string Name => Kind.Name;

    public KvLayout Layout(ModelConfig model)
    {
        var layout = KvLayout.Of(model, KvGrouping.Model);
        return layout.OwnerLayers < model.Layers
            ? layout
            : throw new CheckpointException("KV policy lckv needs a checkpoint whose layers share caches (layer_types of lckv-llama); in this one each layer has its own.");
    }

    public KvSelector? NewSelector(in KvSelectorContext context) => null;
}
