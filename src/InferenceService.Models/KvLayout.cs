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

/// <summary>Whose cache each layer reads, how lanes are grouped, and which layers a prompt runs repeatedly. Fixed when a model loads.</summary>
/// <remarks>
/// Every group has the same number of lanes, so all blocks of a pool have one size and a freed block serves any group of any
/// sequence (ADR 0002). Lanes exist only for layers that own a cache. A layer may read one above it (arXiv:2405.10637, generalised
/// in arXiv:2410.14442): it then cannot see its own token, and the layers of such a cycle run several times over a prompt chunk.
/// </remarks>
public sealed class KvLayout
{
    private readonly int[] _ownerIndex;
    private readonly int[] _loopEnd;
    private readonly bool[] _isReadBelow;
    private readonly int _loopLayers;

    /// <summary>Creates a layout.</summary>
    /// <param name="sourceLayer">Entry l: the layer whose K and V layer l reads; an owner names itself.</param>
    /// <param name="kvHeads">KV heads a layer.</param>
    /// <param name="grouping">How lanes are grouped.</param>
    /// <param name="promptPasses">Most passes of a prompt chunk over layers that read from above.</param>
    /// <exception cref="ArgumentException">A source does not exist or does not own a cache.</exception>
    public KvLayout(ImmutableArray<int> sourceLayer, int kvHeads, KvGrouping grouping, int promptPasses = 1)
    {
        SourceLayer = sourceLayer;
        KvHeads = kvHeads;
        Grouping = grouping;
        PromptPasses = promptPasses;
        _ownerIndex = new int[sourceLayer.Length];
        for (int layer = 0; layer < sourceLayer.Length; layer++)
        {
            int source = sourceLayer[layer];
            if (source < 0 || source >= sourceLayer.Length || sourceLayer[source] != source)
                throw new ArgumentException($"Layer {layer} reads layer {source}, which owns no cache.", nameof(sourceLayer));
            _ownerIndex[layer] = source == layer ? OwnerLayers++ : -1;
            LastOwner = Math.Max(LastOwner, source);
        }

        _isReadBelow = new bool[sourceLayer.Length];
        for (int layer = 0; layer < sourceLayer.Length; layer++)
        {
            _ownerIndex[layer] = _ownerIndex[sourceLayer[layer]];
            _isReadBelow[sourceLayer[layer]] |= ReadsAbove(layer);
        }

        _loopEnd = FindLoops(out _loopLayers);
    }

    /// <summary>The layout of a checkpoint: each layer reads what its config.json says.</summary>
    public static KvLayout Of(ModelConfig config, KvGrouping grouping) => new(config.KvSources, config.KvHeads, grouping, config.PromptPasses);

    /// <summary>Entry l: the layer whose K and V layer l reads.</summary>
    public ImmutableArray<int> SourceLayer { get; }

    /// <summary>KV heads a layer.</summary>
    public int KvHeads { get; }

    /// <summary>How lanes are grouped.</summary>
    public KvGrouping Grouping { get; }

    /// <summary>Most passes of a prompt chunk over the layers of a cycle; a chunk of n tokens needs at most n.</summary>
    public int PromptPasses { get; }

    /// <summary>Layers that own a cache.</summary>
    public int OwnerLayers { get; }

    /// <summary>The uppermost of them: a token whose logits nobody wants need not go beyond its K and V.</summary>
    public int LastOwner { get; }

    /// <summary>Some layer reads one above it, so a prompt chunk takes several passes and its K and V depend on where it began.</summary>
    public bool IsCyclic => _loopLayers > 0;

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

    /// <summary>The lane that KV head <paramref name="head"/> of layer <paramref name="layer"/> reads, among all lanes of a sequence.</summary>
    public int LaneIndex(int layer, int head) => _ownerIndex[layer] * KvHeads + head;

    /// <summary>Layers that read the cache of <paramref name="owner"/>, itself included: attention sums of its lanes add up over them.</summary>
    public int Readers(int owner)
    {
        int readers = 0;
        foreach (int source in SourceLayer)
            readers += source == owner ? 1 : 0;
        return readers;
    }

    /// <summary>True when the layer reads one above it, which a token can do only for the tokens before it.</summary>
    public bool ReadsAbove(int layer) => SourceLayer[layer] > layer;

    /// <summary>True when a layer below reads this one.</summary>
    public bool IsReadBelow(int layer) => _isReadBelow[layer];

    /// <summary>Last layer of the cycle that begins with <paramref name="layer"/>; −1 = none begins here.</summary>
    public int LoopEnd(int layer) => _loopEnd[layer];

    /// <summary>Most passes that a chunk of <paramref name="tokens"/> takes over the layers of a cycle.</summary>
    public int PassesOf(int tokens) => IsCyclic ? Math.Min(PromptPasses, tokens) : 1;

    /// <summary>What a chunk costs, as tokens that go once through all layers.</summary>
    public int CostOf(int tokens)
    {
        long layers = SourceLayer.Length + (PassesOf(tokens) - 1L) * _loopLayers;
        return (int)Math.Min(int.MaxValue, (tokens * layers + SourceLayer.Length - 1) / SourceLayer.Length);
    }

    /// <summary>A cycle runs from a layer that reads above itself to the highest layer that any layer inside reads.</summary>
    private int[] FindLoops(out int loopLayers)
    {
        int[] ends = new int[SourceLayer.Length];
        Array.Fill(ends, -1);
        loopLayers = 0;
        for (int first = 0; first < ends.Length; first++)
        {
            if (!ReadsAbove(first))
                continue;
            int last = SourceLayer[first];
            for (int layer = first; layer <= last; layer++)
                last = Math.Max(last, SourceLayer[layer]);
            ends[first] = last;
            loopLayers += last + 1 - first;
            first = last;
        }

        return ends;
    }
}
