using System.Collections.Immutable;

namespace InferenceService.Models.Architectures;

/// <summary>Every weight that a model of a given shape needs.</summary>
internal sealed record DecoderWeights
{
    /// <summary>Embedding, [vocabulary, hidden]; also the output head when embeddings are tied.</summary>
    public required WeightSpec Embedding { get; init; }

    /// <summary>The layers, bottom first.</summary>
    public required ImmutableArray<LayerWeights> Layers { get; init; }

    /// <summary>Norm before the output head.</summary>
    public required WeightSpec FinalNorm { get; init; }

    /// <summary>Output head, [vocabulary, hidden]; null when embeddings are tied.</summary>
    public required WeightSpec? Head { get; init; }

    /// <summary>The weights of <paramref name="config"/>, asked from its architecture.</summary>
    /// <exception cref="CheckpointException">The architecture is not supported.</exception>
    public static DecoderWeights Of(ModelConfig config)
    {
        IArchitecture architecture = ModelRegistry.Find(config.Architecture);
        return new DecoderWeights
        {
            Embedding = new("model.embed_tokens.weight", config.VocabularySize, config.HiddenSize),
            Layers = [.. Enumerable.Range(0, config.Layers).Select(layer => architecture.Layer(config, layer))],
            FinalNorm = WeightSpec.Vector("model.norm.weight", config.HiddenSize),
            Head = config.TiedEmbeddings ? null : new("lm_head.weight", config.VocabularySize, config.HiddenSize),
        };
    }

    /// <summary>All weights, bottom first.</summary>
    public IEnumerable<WeightSpec> All()
    {
        yield return Embedding;
        foreach (LayerWeights layer in Layers)
            foreach (WeightSpec weight in layer.All())
                yield return weight;
        yield return FinalNorm;
        if (Head is { } head)
            yield return head;
    }
}
