using System.Collections.Immutable;
using System.Globalization;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Architectures;

/// <summary>Whose K and V each layer reads, and which layers slide: the string <c>layer_types</c>.</summary>
/// <remarks>
/// Four dialects, told apart by <c>model_type</c>. <c>lckv-llama</c>: entry l is the layer that layer l reads, then <c>s</c> if it
/// slides. <c>group-opt-llama</c>: the same without <c>s</c>. <c>opt-llama</c>: 0 reads itself, 2 is the layer <c>target_layer</c>
/// (counted from the end when negative), 1 reads it. <c>cla-llama</c>: 0 and 2 read themselves, 1 the nearest such layer below. The
/// two <c>opt</c> dialects never see their own token. Configurations elsewhere have a list of that name, with another meaning.
/// </remarks>
/// <param name="Source">Entry l: the layer that layer l reads; such a layer reads itself.</param>
/// <param name="Windows">Sliding window of each layer, the own token included; 0 = full attention.</param>
internal sealed record LayerSources(ImmutableArray<int> Source, ImmutableArray<int> Windows)
{
    private const int MaxPasses = 256, MaxDigits = 4;

    /// <summary>Reads sources, windows and how prompts are encoded.</summary>
    /// <exception cref="CheckpointException">A field is not of its dialect, or names a layer that cannot be read.</exception>
    public static LayerSources Read(ConfigJson json, int layers, out KvEncoding encoding)
    {
        string? type = json.OptionalText("model_type");
        encoding = type is "opt-llama" or "group-opt-llama" ? Legacy(json) : type is "cla-llama" ? new KvEncoding(7, 2, false, false) : Current(json);
        if (json.OptionalText("layer_types") is not { } text)
            return new LayerSources([.. Enumerable.Range(0, layers)], [.. new int[layers]]);
        string[] entries = text.Split('_', layers + 1);
        if (entries.Length != layers)
            throw json.Error("layer_types", $"has {(entries.Length > layers ? "more" : entries.Length)} entries; allowed: one for each of {layers} layers");
        LayerSources sources = type switch
        {
            "opt-llama" => OfKinds(json, entries, Target(json, layers)),
            "cla-llama" => OfKinds(json, entries, null),
            _ => OfLayers(json, entries, maySlide: type != "group-opt-llama"),
        };
        sources.Check(json);
        return sources;
    }

    private static KvEncoding Current(ConfigJson json)
    {
        int forward = json.OptionalInt("forward_passes", 0, MaxPasses) ?? 7, backward = json.OptionalInt("backward_passes", 0, MaxPasses) ?? 2;
        return forward + backward > 0
            ? new KvEncoding(forward, backward, json.OptionalFlag("force_nodiag") ?? false, json.OptionalFlag("use_sequential") ?? false)
            : throw json.Error("backward_passes", "is 0 and so is forward_passes; allowed: at least 1 pass together");
    }

    /// <summary>The first release counted m + b − 1 encoders before the decoder, b − 1 of them trained, and masked every diagonal.</summary>
    private static KvEncoding Legacy(ConfigJson json)
    {
        int encoders = json.OptionalInt("num_encoders", 0, MaxPasses) ?? 8, trained = json.OptionalInt("num_trained_encoders", 0, encoders) ?? Math.Min(1, encoders);
        return new KvEncoding(encoders - trained, trained + 1, ForceNoDiagonal: true, Sequential: false);
    }

    private static int Target(ConfigJson json, int layers)
    {
        int target = json.OptionalInt("target_layer", -layers, layers - 1) ?? -1;
        return target < 0 ? target + layers : target;
    }

    private static LayerSources OfLayers(ConfigJson json, string[] entries, bool maySlide)
    {
        int window = json.Mentions("sliding_window") ? 0 : 4096;
        window = json.OptionalInt("sliding_window", 1, int.MaxValue) ?? window;
        int[] sources = new int[entries.Length], windows = new int[entries.Length];
        for (int layer = 0; layer < entries.Length; layer++)
        {
            bool slides = maySlide && entries[layer].EndsWith('s');
            ReadOnlySpan<char> digits = slides ? entries[layer].AsSpan(0, entries[layer].Length - 1) : entries[layer];
            if (digits.Length is 0 or > MaxDigits || !int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out sources[layer])
                || sources[layer] >= entries.Length)
            {
                throw json.Error("layer_types", $"entry {layer} is {Quote.Value(entries[layer])}; "
                    + $"allowed: a layer from 0 to {entries.Length - 1}{(maySlide ? ", then s if it slides" : "")}");
            }

            windows[layer] = slides ? window : 0;
        }

        return new LayerSources([.. sources], [.. windows]);
    }

    /// <param name="target">The layer that kind 1 reads; null: the nearest below that reads itself.</param>
    private static LayerSources OfKinds(ConfigJson json, string[] entries, int? target)
    {
        int[] sources = new int[entries.Length];
        int below = -1;
        for (int layer = 0; layer < entries.Length; layer++)
        {
            sources[layer] = entries[layer] switch
            {
                "0" => layer,
                "1" when (target ?? below) >= 0 => target ?? below,
                "1" => throw json.Error("layer_types", "entry 0 is '1', but no layer lies below; allowed: 0, 2"),
                "2" when target is null || target == layer => layer,
                "2" => throw json.Error("layer_types", $"entry {layer} is '2', but target_layer is layer {target}; allowed: 0, 1"),
                _ => throw json.Error("layer_types", $"entry {layer} is {Quote.Value(entries[layer])}; allowed: 0, 1, 2"),
            };
            if (sources[layer] == layer)
                below = layer;
        }

        return new LayerSources([.. sources], [.. new int[entries.Length]]);
    }

    private void Check(ConfigJson json)
    {
        for (int layer = 0; layer < Source.Length; layer++)
        {
            if (Source[Source[layer]] != Source[layer])
            {
                throw json.Error("layer_types", $"entry {layer} reads layer {Source[layer]}, which itself reads layer {Source[Source[layer]]}; "
                    + "allowed: layers that read themselves");
            }
        }
    }
}

/// <summary>How prompts are encoded into a cache that lower layers read.</summary>
/// <param name="ForwardPasses"><c>m</c>.</param>
/// <param name="BackwardPasses"><c>b</c>.</param>
/// <param name="ForceNoDiagonal">No layer sees its own token.</param>
/// <param name="Sequential">As if token by token.</param>
internal readonly record struct KvEncoding(int ForwardPasses, int BackwardPasses, bool ForceNoDiagonal, bool Sequential);
