using System.Collections.Immutable;

namespace InferenceService.Models;

/// <summary>Which lanes keep and drop together, and so share a block table.</summary>
public enum KvGrouping
{
    /// <summary>All lanes of the model are one group.</summary>
    Model,

    /// <summary>The lanes of one layer are a group.</summary>
    Layer,

    /// <summary>Every KV head of every layer is a group of its own.</summary>
    Head,
}

/// <summary>Whose cache each layer reads, and how lanes are grouped. Fixed when a model loads.</summary>
/// <remarks>
/// Every group has the same number of lanes, so all blocks of a pool have one size and a freed block serves any group of any
/// sequence (ADR 0002). Lanes exist only for layers that own a cache.
/// </remarks>
public sealed class KvLayout
{
    private readonly int[] _ownerIndex;

    /// <summary>Creates a layout.</summary>
    /// <param name="sourceLayer">Entry l: the layer whose K and V layer l reads; an owner names itself.</param>
    /// <param name="kvHeads">KV heads a layer.</param>
    /// <param name="grouping">How lanes are grouped.</param>
    /// <exception cref="ArgumentException">A source does not exist or does not own a cache.</exception>
    public KvLayout(ImmutableArray<int> sourceLayer, int kvHeads, KvGrouping grouping)
    {
        SourceLayer = sourceLayer;
        KvHeads = kvHeads;
        Grouping = grouping;
        _ownerIndex = new int[sourceLayer.Length];
        for (int layer = 0; layer < sourceLayer.Length; layer++)
        {
            int source = sourceLayer[layer];
            if (source < 0 || source >= sourceLayer.Length || sourceLayer[source] != source)
                throw new ArgumentException($"Layer {layer} reads layer {source}, which owns no cache.", nameof(sourceLayer));
            _ownerIndex[layer] = source == layer ? OwnerLayers++ : -1;
        }

        for (int layer = 0; layer < sourceLayer.Length; layer++)
            _ownerIndex[layer] = _ownerIndex[sourceLayer[layer]];
    }

    /// <summary>Every layer owns its cache: the ordinary decoder.</summary>
    public static KvLayout Plain(ModelConfig config, KvGrouping grouping) =>
        new([.. Enumerable.Range(0, config.Layers)], config.KvHeads, grouping);

    /// <summary>Entry l: the layer whose K and V layer l reads.</summary>
    public ImmutableArray<int> SourceLayer { get; }

    /// <summary>KV heads a layer.</summary>
    public int KvHeads { get; }

    /// <summary>How lanes are grouped.</summary>
    public KvGrouping Grouping { get; }

    /// <summary>Layers that own a cache.</summary>
    public int OwnerLayers { get; }

    /// <summary>Groups of one sequence.</summary>
    public int Groups => Grouping switch
    {
        KvGrouping.Model => 1,
        KvGrouping.Layer => OwnerLayers,
        _ => OwnerLayers * KvHeads,
    };

    /// <summary>Lanes of one group: what a block holds.</summary>
    public int LanesPerGroup => OwnerLayers * KvHeads / Groups;

    /// <summary>Group that holds the lane which KV head <paramref name="head"/> of layer <paramref name="layer"/> reads.</summary>
    public int GroupOf(int layer, int head) => LaneIndex(layer, head) / LanesPerGroup;

    /// <summary>Index of that lane inside its group.</summary>
    public int LaneOf(int layer, int head) => LaneIndex(layer, head) % LanesPerGroup;

    private int LaneIndex(int layer, int head) => _ownerIndex[layer] * KvHeads + head;
}
