using System.Diagnostics;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>
/// SimLayerKV (Zhang et al., arXiv:2410.13846 v1; LightTransfer in v2): a layer whose last prompt queries spend their attention on the
/// first and the most recent tokens is lazy, and keeps only those.
/// </summary>
/// <remarks>
/// r of a layer = attention on [0, S) and [n − R, n), mean over the query heads and the last w queries of the n prompt tokens.
/// Mode <c>threshold</c> (v1): lazy when r exceeds a threshold. Mode <c>share</c> (LightTransfer): the layers with the highest r are lazy,
/// a fixed share stays full.
/// Deviation: v1's released code decides from the first decoded query; here, as in its prefill variant and in LightTransfer, the last w
/// prompt queries decide, so that memory is free before the first token.
/// Deviation: v1 counts overlapping keys twice below S + R tokens; here nothing is decided before the ranges are apart. A shorter prompt
/// is decided w tokens after S + R, from those w queries.
/// Deviation: R defaults to LightTransfer's 1,020 in both modes; v1's code has 1,024.
/// Deviation: lazy layers slide in decode unless <c>slide</c> is off; v1 lets them grow, the paper does not say.
/// Deviation: a lane that several layers read is lazy by the mean over them; the paper knows no such lanes.
/// </remarks>
internal sealed class SimLayerKvPolicy(SimLayerKvPolicy.Choices choices) : IKvPolicy
{
    public static KvPolicyKind Kind { get; } = new("sim-layer-kv", "layers that look at first and recent tokens keep only those",
        [
            KvPolicyOption.Choice("mode", "threshold: lazy above lazy_threshold; share: all but full_share of the layers are lazy", "threshold", "share"),
            KvPolicyOption.Number("lazy_threshold", null, -1, 2, "share",
                "attention on first and recent tokens above which a layer is lazy; without a value that of the model family (0.65 to 0.9)"),
            KvPolicyOption.Number("full_share", 0.5, 0, 1, "share", "share of the layers that keeps everything, in mode share"),
            KvPolicyOption.Count("sink_tokens", 4, 0, 65_536, "first tokens that a lazy layer keeps"),
            KvPolicyOption.Count("recent_tokens", 1020, 1, 1_000_000, "last tokens that a lazy layer keeps"),
            KvPolicyOption.Count("observed_tokens", 32, 1, 1024, "last queries of the prompt that decide; at most recent_tokens, to which the default gives way"),
            KvPolicyOption.UnderPressure("the next laziest layer becomes lazy"),
            KvPolicyOption.Switch("slide", true, "lazy layers keep the last tokens in decode too; false: they grow"),
        ],
        values =>
        {
            int recent = values.Count("recent_tokens"), observed = values.Count("observed_tokens");
            if (observed > recent && values.IsGiven("observed_tokens"))
                throw new KvPolicyException("observed_tokens", $"observed_tokens must be at most recent_tokens ({recent}), got {observed}.");
            return new SimLayerKvPolicy(new Choices(
                values.Word("mode") == "share" ? values.Number("full_share") : null, values.Number("lazy_threshold"),
                values.Count("sink_tokens"), recent, Math.Min(observed, recent), values.Switch("slide"),
                values.Switch(KvPolicyOption.UnderPressureName)))
            { Settings = values.ToString() };
        });

    public string Name => Kind.Name;

    public string Settings { get; private init; } = "";

    public AttentionSums Sums => AttentionSums.RangeMass;

    public KvLayout Layout(ModelConfig model)
    {
        SlidingLayers.Refuse(Name, model);
        return KvLayout.Of(model, KvGrouping.Layer);
    }

    public KvSelector NewSelector(in KvSelectorContext context) => new Selector(choices, context);

    /// <summary>The thresholds of the v1 code; families it does not name take Llama 3's.</summary>
    private static double FamilyThreshold(ModelConfig model)
    {
        // Llama 2 of 7B and 13B is what has the base of 10,000 and a KV head for every query head.
        if (model.Architecture.StartsWith("Llama", StringComparison.Ordinal))
            return model.Rope.Theta <= 10_000 && model.Heads == model.KvHeads ? 0.65 : 0.9;
        if (model.Architecture.StartsWith("Mistral", StringComparison.Ordinal))
            return 0.8;
        return model.Architecture.StartsWith("Qwen", StringComparison.Ordinal) ? 0.85 : 0.9;
    }

    /// <summary>Option values; FullShare null = by threshold, Threshold null = the family's.</summary>
    internal sealed record Choices(double? FullShare, double? Threshold, int Sinks, int Recent, int Observed, bool Slides, bool Yields = false);

    /// <summary>The plan of one sequence: which layers are lazy, once that is decided.</summary>
    internal sealed class Selector : KvSelector
    {
        private readonly Choices _choices;
        private readonly double _threshold;
        private readonly int _decideAt;
        private readonly int _groupsPerLayer;
        private readonly bool[] _lazy;
        private readonly double[] _share;
        private bool _decided;
        private bool _dropped;

        public Selector(Choices choices, in KvSelectorContext context)
        {
            int apart = choices.Sinks + choices.Recent;
            _choices = choices;
            _threshold = choices.Threshold ?? FamilyThreshold(context.Model);
            _decideAt = context.PromptTokens > apart ? context.PromptTokens : apart + choices.Observed;
            _groupsPerLayer = context.Layout.Groups / context.Layout.OwnerLayers;
            _lazy = new bool[context.Layout.OwnerLayers];
            _share = new double[context.Layout.OwnerLayers];
            if (context.Previous is not Selector { _decided: true } before)
                return;
            _decided = true;
            before._lazy.CopyTo(_lazy, 0);
            before._share.CopyTo(_share, 0);
        }

        /// <summary>[layers that own a cache] lazy ones; all false before the decision.</summary>
        public ReadOnlySpan<bool> Lazy => _lazy;

        public override AttentionSums Sums => _decided ? AttentionSums.None : AttentionSums.RangeMass;

        public override bool IsSettled => _dropped;

        // What decides must see exact keys; and a replay, which knows the decision from the start, must not pack earlier than the first run did.
        public override bool MayPack(int group) => _dropped;

        public override int MostSlots(int group, ReadOnlySpan<int> computed) =>
            _dropped && _choices.Slides && _lazy[group / _groupsPerLayer] ? Math.Min(computed.Length, _choices.Sinks + _choices.Recent) : computed.Length;

        public override int FreshPromptTokens => _decided ? 0 : _choices.Observed;

        public override KvWatch Watch(int computed, int tokens)
        {
            int first = _decideAt - _choices.Observed;
            return _decided || computed + tokens <= first
                ? default
                : new KvWatch(AttentionSums.RangeMass, first, 0, _choices.Sinks, _decideAt - _choices.Recent);
        }

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            if (seen.ComputedTokens < _decideAt || (_dropped && !_choices.Slides))
                return;
            if (!_decided)
                Decide(seen);
            _dropped = true;
            Drop(seen, keep);
        }

        public override bool Yields => _choices.Yields;

        public override bool Yield(in KvObservation seen, KeepSet keep)
        {
            int next = -1;
            for (int layer = 0; layer < _lazy.Length && _dropped; layer++)
                if (!_lazy[layer] && (next < 0 || _share[layer] > _share[next]))
                    next = layer;
            if (next < 0)
                return false;
            _lazy[next] = true;
            Drop(seen, keep);
            return true;
        }

        private void Drop(in KvObservation seen, KeepSet keep)
        {
            for (int group = 0; group < keep.Groups; group++)
            {
                int end = seen.Lengths[group] - _choices.Recent;
                if (_lazy[group / _groupsPerLayer] && end > _choices.Sinks)
                    keep.Drop(group, _choices.Sinks, end);
            }
        }

        private void Decide(in KvObservation seen)
        {
            Debug.Assert(seen.ComputedTokens == _decideAt, "Every token after the prompt is a step of its own.");
            _decided = true;
            double[] share = _share;
            int owner = 0;
            for (int layer = 0; layer < seen.Layout.SourceLayer.Length; layer++)
                if (seen.Layout.SourceLayer[layer] == layer)
                    share[owner++] = LazyShare(seen, layer);
            int full = _choices.FullShare is double kept ? (int)Math.Round(kept * _lazy.Length, MidpointRounding.AwayFromZero) : 0;
            for (int candidate = 0; candidate < _lazy.Length; candidate++)
                _lazy[candidate] = _choices.FullShare is null ? share[candidate] > _threshold : Rank(share, candidate) < _lazy.Length - full;
        }

        private double LazyShare(in KvObservation seen, int layer)
        {
            int heads = seen.Layout.KvHeads, row = seen.Layout.LaneIndex(layer, 0);
            double mass = 0;
            for (int head = 0; head < heads; head++)
                mass += seen.RangeMass[row + head];
            return mass / ((double)heads * seen.Layout.Readers(layer) * _choices.Observed);
        }

        /// <summary>Layers that are lazier; of equal ones the lower layer is.</summary>
        private static int Rank(ReadOnlySpan<double> share, int candidate)
        {
            int lazier = 0;
            for (int other = 0; other < share.Length; other++)
                lazier += share[other] > share[candidate] || (share[other] == share[candidate] && other < candidate) ? 1 : 0;
            return lazier;
        }
    }
}
