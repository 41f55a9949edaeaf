using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>
/// StreamingLLM (Xiao et al., arXiv:2309.17453): the first tokens act as attention sinks; keeping them and a window of recent tokens
/// lets a model read a stream of any length in constant memory.
/// </summary>
/// <remarks>
/// Between steps a lane holds positions 0..S−1 and the last R; a query at position i sees them and itself, in the prompt too. Sinks are
/// met as if the query stood at cache index min(i, S + R), by a second rotation of the query; no cached key is ever rotated again.
/// Deviation: the paper keeps keys unrotated and rotates the whole cache in every step; rotating the query twice gives the same scores.
/// Deviation: the paper leaves a prompt longer than the cache open; here each row of the prompt sees what it would see in decode, which
/// is what the authors' perplexity script does token by token.
/// It widens no context: what left the window is gone.
/// </remarks>
internal sealed class StreamingLlmPolicy(int sinks, int recent) : IKvPolicy
{
    public static KvPolicyKind Kind { get; } = new("streaming-llm", "keeps the first tokens and a window of recent ones",
        [
            KvPolicyOption.Count("sink_tokens", 4, 0, 65_536, "first tokens that are kept"),
            KvPolicyOption.Count("recent_tokens", 1020, 1, 1_000_000, "last tokens that are kept"),
        ],
        values => new StreamingLlmPolicy(values.Count("sink_tokens"), values.Count("recent_tokens")) { Settings = values.ToString() });

    public string Name => Kind.Name;

    public string Settings { get; private init; } = "";

    public KvMask Mask => new(sinks, recent + 1, sinks > 0 ? sinks + recent : 0);

    public KvLayout Layout(ModelConfig model)
    {
        SlidingLayers.Refuse(Name, model);
        return KvLayout.Of(model, KvGrouping.Model);
    }

    public KvSelector NewSelector(in KvSelectorContext context) => new Selector(sinks, recent);

    /// <summary>Frees what the mask hides for good; the last R slots of every lane are its last R positions.</summary>
    private sealed class Selector(int sinks, int recent) : KvSelector
    {
        public override void Select(in KvObservation seen, KeepSet keep)
        {
            for (int group = 0; group < keep.Groups; group++)
                if (seen.Lengths[group] - recent > sinks)
                    keep.Drop(group, sinks, seen.Lengths[group] - recent);
        }
    }
}
