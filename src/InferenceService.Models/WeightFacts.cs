using System.Collections.Immutable;
using InferenceService.Compute;
using InferenceService.Models.Architectures;
using InferenceService.Models.Layers;

namespace InferenceService.Models;

/// <summary>How a loaded model holds its matrices, and what rounding them lost.</summary>
public sealed record WeightFacts
{
    /// <summary>Format of the layers' matrices.</summary>
    public required WeightFormat Format { get; init; }

    /// <summary>Format of the output head: 8 bits where the layers have fewer, stored where its rows cannot be packed.</summary>
    public required WeightFormat HeadFormat { get; init; }

    /// <summary>Matrices that this load rounded; those of a <see cref="Packed.PackedCache"/> had been before.</summary>
    public int Rounded { get; init; }

    /// <summary>Error over all packed matrices.</summary>
    public WeightError Error { get; init; }

    /// <summary>The packed matrix with the largest relative error; null when none was packed.</summary>
    public string? Worst { get; init; }

    /// <summary>Its relative error.</summary>
    public double WorstRelative { get; init; }

    /// <summary>Matrices that the format cannot hold, kept as stored.</summary>
    public ImmutableArray<string> Kept { get; init; } = [];

    /// <summary>What the head is held in when the layers are in <paramref name="format"/>: it has 8 bits or more.</summary>
    public static WeightFormat HeadFormatOf(WeightFormat format) => format == WeightFormat.Int4 ? WeightFormat.Int8 : format;

    /// <summary>What the layers' matrices and the head will be held in: stored, where the format can hold none of them.</summary>
    public static (WeightFormat Layers, WeightFormat Head) Planned(ModelConfig config, WeightFormat format)
    {
        DecoderWeights weights = DecoderWeights.Of(config);
        WeightFormat head = HeadFormatOf(format);
        bool holds = weights.Layers.SelectMany(layer => layer.Matrices()).Any(spec => format.Holds(spec.Columns));
        return (holds ? format : WeightFormat.Stored, head.Holds((weights.Head ?? weights.Embedding).Columns) ? head : WeightFormat.Stored);
    }

    /// <summary>Bytes of all weights of a model once loaded, before anything is.</summary>
    /// <exception cref="CheckpointException">A weight is missing, or its shape or type is not what the architecture needs.</exception>
    public static long BytesOf(ModelConfig config, IWeightSource source, WeightFormat format)
    {
        DecoderWeights weights = DecoderWeights.Of(config);
        long bytes = 0;
        foreach (WeightSpec spec in weights.All())
            bytes += WeightLoader.Fetch(source, spec).ByteLength;
        if (format == WeightFormat.Stored)
            return bytes;
        foreach (WeightSpec spec in weights.Layers.SelectMany(layer => layer.Matrices()))
            bytes += Growth(spec, format);
        WeightFormat head = HeadFormatOf(format);
        if (weights.Head is { } own)
            return bytes + Growth(own, head);
        return bytes + (head.Holds(weights.Embedding.Columns) ? head.ByteLength(weights.Embedding.Rows, weights.Embedding.Columns) : 0);

        long Growth(WeightSpec spec, WeightFormat to) =>
            to.Holds(spec.Columns) ? to.ByteLength(spec.Rows, spec.Columns) - WeightLoader.Fetch(source, spec).ByteLength : 0;
    }
}
