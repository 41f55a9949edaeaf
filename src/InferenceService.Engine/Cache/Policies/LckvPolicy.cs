using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>
/// Layer-condensed KV cache (arXiv:2405.10637) and every other sharing between layers that a checkpoint's <c>layer_types</c> states
/// (arXiv:2410.14442): keeps every token, but only of the layers that are read, and where only sliding layers read, only their window.
/// </summary>
/// <remarks>
/// Which layers share is a property of the weights, so there is nothing to choose; every policy's layout follows it. This one refuses
/// a checkpoint that shares nothing.
/// Deviation: the paper runs a fixed number of passes over a prompt; here it is cut into chunks, which is more exact, and a chunk's
/// passes end when K and V of the layers that are read from below have settled.
/// A prompt holds all its tokens until it is computed: another of the same beginning may share them, window or not.
/// </remarks>
internal sealed class LckvPolicy : IKvPolicy
{
    public static KvPolicyKind Kind { get; } = new(
        "lckv", "keeps every token of the layers that others read; for checkpoints that share caches between layers", [], _ => new LckvPolicy());

    public string Name => Kind.Name;

    public KvLayout Layout(ModelConfig model)
    {
        bool slides = false;
        foreach (int owner in model.KvSources)
            slides |= Window(model, owner) > 0;
        // Layers that keep different numbers of tokens need tables of their own.
        var layout = KvLayout.Of(model, slides ? KvGrouping.Layer : KvGrouping.Model);
        return layout.OwnerLayers < model.Layers
            ? layout
            : throw new CheckpointException("KV policy lckv needs a checkpoint whose layers share caches (layer_types of lckv-llama); in this one each layer has its own.");
    }

    public KvSelector? NewSelector(in KvSelectorContext context)
    {
        int[] windows = new int[context.Layout.Groups];
        Array.Fill(windows, -1);
        foreach (int owner in context.Model.KvSources)
        {
            for (int head = 0; head < context.Layout.KvHeads; head++)
            {
                ref int window = ref windows[context.Layout.GroupOf(owner, head)];
                int own = Window(context.Model, owner);
                window = own == 0 || window == 0 ? 0 : Math.Max(window, own);
            }
        }

        return Array.TrueForAll(windows, window => window == 0) ? null : new Selector(windows);
    }

    /// <summary>Tokens that the readers of a layer's cache see, their own included; 0 = all, because one of them does not slide.</summary>
    private static int Window(ModelConfig model, int owner)
    {
        int most = 0;
        for (int layer = 0; layer < model.Layers; layer++)
        {
            if (model.KvSources[layer] != owner)
                continue;
            if (model.Windows[layer] == 0)
                return 0;
            most = Math.Max(most, model.Windows[layer]);
        }

        return most;
    }

    /// <summary>The last slots of a lane are its last positions, so a window of slots is one of tokens whatever was dropped before it.</summary>
    private sealed class Selector(int[] windows) : KvSelector
    {
        public override int MostSlots(int group, ReadOnlySpan<int> computed) => windows[group] > 0 ? Math.Min(computed.Length, windows[group] - 1) : computed.Length;

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            for (int group = 0; group < windows.Length; group++)
            {
                int end = seen.Lengths[group] + 1 - windows[group]; // the next token is the window's last
                if (windows[group] > 0 && end > 0)
                    keep.Drop(group, 0, end);
            }
        }
    }
}
