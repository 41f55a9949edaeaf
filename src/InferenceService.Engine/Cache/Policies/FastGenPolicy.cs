using System.Diagnostics;
using System.Numerics;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>
/// FastGen (Ge et al., arXiv:2310.01801; not DeepSpeed-FastGen): profiles each head in the prompt and gives it the cheapest of a chain of
/// policies that recovers its attention: special tokens; and punctuation; and the most attended; and the local window; everything.
/// </summary>
/// <remarks>
/// c[j] = attention that slot j received, b[j] = the part from the next w rows, both summed while the prompt is computed. A head takes
/// the first policy whose retained mass, the mean over rows of attention on what it keeps, reaches the target; else it keeps everything.
/// Deviation: the paper does not define its norm; retained mass is how AnswerDotAI/cold-compress reads it.
/// Deviation: a head that no policy serves keeps everything; taking the first of a list of failures would give it the most aggressive one.
/// Deviation: by default the last 64 prompt queries are profiled, so that a cached prefix can be reused and the plan is the same with and
/// without a hit; <c>profile_tokens</c> 0 profiles the whole prompt as the paper does, and then no prefix is reused.
/// Deviation: the first tokens count as special, because a checkpoint's first token is a sink whatever its class; <c>sink_tokens</c> 0 ends that.
/// Deviation: the most attended tokens are chosen once per head and not per row, and not from the local window where that is kept anyway.
/// Deviation: in decode the budget of most attended tokens grows with the text, so that a long answer to a short prompt keeps more than a
/// handful (<c>budget_grows</c> off holds it), and the newest few are protected, because their history is short.
/// Deviation: heads of a group (GQA, unknown to the paper) share slots, so their attention is averaged; with <c>gqa</c> min a policy is taken
/// only when each of them retains the target, while what is most attended stays a matter of the mean.
/// </remarks>
internal sealed class FastGenPolicy(FastGenPolicy.Choices choices) : IKvPolicy
{
    public static KvPolicyKind Kind { get; } = new("fast-gen", "each head keeps the cheapest set of tokens that recovers its attention",
        [
            KvPolicyOption.Number("recovery_target", 0.95, 0, 2, "share", "mean attention that a head's kept tokens must retain; from 1 on everything is kept"),
            KvPolicyOption.Number("local_share", 0.3, 0, 1, "share", "local window, as a share of the prompt"),
            KvPolicyOption.Number("frequent_share", 0.3, 0, 1, "share", "most attended tokens, as a share of the text"),
            KvPolicyOption.Count("sink_tokens", 4, 0, 65_536, "first tokens that count as special"),
            KvPolicyOption.Count("profile_tokens", 64, 0, 1_000_000, "last prompt queries that are profiled; 0 = all, and no cached prefix is reused"),
            KvPolicyOption.Count("protected_window_size", 4, 0, 4096, "newest tokens that are not evicted for little attention"),
            KvPolicyOption.Choice("gqa", "what heads that share a cache must retain: the mean of them the target (mean), or each of them (min; memory for each of them)", "mean", "min"),
            KvPolicyOption.UnderPressure("the head that loses least takes the next cheaper policy of the chain"),
            KvPolicyOption.Switch("budget_grows", true, "the most attended tokens are a share of the whole text; false: of the prompt"),
        ],
        values => new FastGenPolicy(new Choices(
            values.Number("recovery_target")!.Value, values.Number("local_share")!.Value, values.Number("frequent_share")!.Value,
            values.Count("sink_tokens"), values.Count("profile_tokens"), values.Count("protected_window_size"),
            values.Switch("budget_grows"), values.Switch(KvPolicyOption.UnderPressureName), values.Word("gqa") == "min"))
        { Settings = values.ToString() });

    public string Name => Kind.Name;

    public string Settings { get; private init; } = "";

    public AttentionSums Sums => AttentionSums.Columns | AttentionSums.Band | (choices.EachHead ? AttentionSums.Heads : AttentionSums.None);

    public KvLayout Layout(ModelConfig model)
    {
        SlidingLayers.Refuse(Name, model);
        return KvLayout.Of(model, KvGrouping.Head);
    }

    public KvSelector NewSelector(in KvSelectorContext context) => new Selector(choices, context);

    /// <summary>Option values.</summary>
    internal sealed record Choices(double Target, double LocalShare, double FrequentShare, int Sinks, int Profiled, int Protected, bool Grows, bool Yields = false, bool EachHead = false);

    private const int PlanCount = 5;

    /// <summary>The chain, cheapest first; each keeps what the one before it keeps.</summary>
    internal enum Plan : byte
    {
        Special,
        Punctuation,
        Frequent,
        Local,
        Full,
    }

    /// <summary>The plan of one sequence, a head each, and how full its budgets are.</summary>
    internal sealed class Selector : KvSelector
    {
        private readonly Choices _choices;
        private readonly TokenClasses _classes;
        private readonly int _prompt;
        private readonly int _window;
        private readonly int _profiled;
        private readonly Plan[] _plans;
        private readonly int[] _ranked; // [groups] kept tokens that neither class nor window protects
        private readonly double[] _retained; // [groups, plans] attention that each plan would retain; known only where a head may be asked to keep less
        private readonly FastGenProfile _profile;
        private readonly int _heads; // query heads of a lane that must retain the target each; 0 = their mean must
        private bool _decided;
        private bool _started;
        private int _ranking; // groups that rank their slots

        public Selector(Choices choices, in KvSelectorContext context)
        {
            (_choices, _classes, _prompt) = (choices, context.Classes, context.PromptTokens);
            _window = Math.Max(1, (int)Math.Ceiling(choices.LocalShare * _prompt));
            _profiled = choices.Profiled == 0 ? _prompt : Math.Min(choices.Profiled, _prompt);
            _plans = new Plan[context.Layout.Groups];
            _ranked = new int[context.Layout.Groups];
            _retained = new double[choices.Yields ? context.Layout.Groups * PlanCount : 0];
            _heads = choices.EachHead && context.Model.Heads > context.Model.KvHeads ? context.Model.Heads / context.Model.KvHeads : 0;
            _profile = new FastGenProfile(_heads);
            if (context.Previous is not Selector { _decided: true } before)
                return;
            _decided = true;
            before._plans.CopyTo(_plans, 0);
            before._retained.CopyTo(_retained, 0);
        }

        /// <summary>[groups] what each head keeps, once that is decided.</summary>
        public ReadOnlySpan<Plan> Plans => _plans;

        /// <summary>Most tokens that a head with that plan keeps of a text.</summary>
        public int Budget(Plan plan, ReadOnlySpan<int> text)
        {
            int classed = 0;
            for (int position = 0; position < text.Length; position++)
                classed += IsSpecial(position, text[position]) || (plan > Plan.Special && _classes.IsPunctuation(text[position])) ? 1 : 0;
            int frequent = plan < Plan.Frequent ? 0 : Frequent(text.Length), local = plan < Plan.Local ? 0 : _window;
            return plan == Plan.Full ? text.Length : Math.Min(text.Length, classed + frequent + local);
        }

        public override int MostSlots(int group, ReadOnlySpan<int> computed) => Budget(_plans[group], computed);

        public override AttentionSums Sums => AttentionSums.Columns | AttentionSums.Band | (_heads > 0 ? AttentionSums.Heads : AttentionSums.None);

        public override int FreshPromptTokens => _profiled;

        public override bool Gathers => true;

        // Once begun, a head that ranks lets one slot go a step, whose place another takes; the other heads drop the newest slot or nothing.
        public override int MayWrite(int blocks) => _started ? Math.Min(_ranking, blocks) : _choices.Target >= 1 && !_decided ? 0 : blocks;

        public override bool IsSettled => _started && !Yields; // a head that yields may be packed from then on

        public override bool MayPack(int group) => _plans[group] is Plan.Full or Plan.Special or Plan.Punctuation; // of these only the newest slot ever goes

        public override KvWatch Watch(int computed, int tokens)
        {
            if (computed < _prompt)
            {
                return computed + tokens <= _prompt - _profiled
                    ? default
                    : new KvWatch(Sums, _prompt - _profiled, _window, 0, 0);
            }

            return _ranking > 0 ? new KvWatch(AttentionSums.Columns, 0, 0, 0, 0) : default;
        }

        public override void Select(in KvObservation seen, KeepSet keep)
        {
            if (!_started)
            {
                Debug.Assert(seen.ComputedTokens == _prompt, "The first question comes when the prompt ends.");
                for (int group = 0; group < _plans.Length; group++)
                    Begin(seen, group, keep);
                (_decided, _started) = (true, true);
                CountRanking();
                return;
            }

            for (int group = 0; group < _plans.Length; group++)
                Continue(seen, group, keep);
        }

        /// <summary>End of the prompt: the first plan of the chain that recovers enough, and what it keeps.</summary>
        private void Begin(in KvObservation seen, int group, KeepSet keep)
        {
            _profile.Read(seen, group, _profiled);
            for (int position = 0; position < _prompt; position++)
                _profile.SetClass(position, IsSpecial(position, seen.Tokens[position]) ? 2 : _classes.IsPunctuation(seen.Tokens[position]) ? 1 : 0);
            if (!_decided)
                _plans[group] = Choose(_choices.Yields ? _retained.AsSpan(group * PlanCount, PlanCount) : []);
            Plan plan = _plans[group];
            if (plan == Plan.Full)
                return;
            if (plan >= Plan.Frequent)
                _ranked[group] = _profile.MarkFrequent(Frequent(_prompt), plan == Plan.Local ? _prompt - _window : _prompt);
            keep.Restrict(group);
            for (int slot = 0; slot < _prompt; slot++)
            {
                int kind = _profile.Class(slot);
                bool kept = kind == 2 || (kind == 1 && plan >= Plan.Punctuation) || (plan >= Plan.Frequent && _profile.IsFrequent(slot))
                    || (plan == Plan.Local && slot >= _prompt - _window);
                if (kept)
                    keep.Keep(group, slot);
            }
        }

        /// <summary>The first plan of the chain that reaches the target.</summary>
        /// <param name="retained">[plans] filled with what each retains; empty = not asked for, so that the chain may end early.</param>
        private Plan Choose(Span<double> retained)
        {
            Plan chosen = Plan.Full;
            for (Plan plan = Plan.Full; plan-- > Plan.Special && !retained.IsEmpty;)
                retained[(int)plan] = Retained(plan);
            if (!retained.IsEmpty)
                retained[(int)Plan.Full] = 1;
            for (Plan plan = Plan.Special; plan < Plan.Full && chosen == Plan.Full && _choices.Target < 1; plan++)
                if ((retained.IsEmpty ? Retained(plan) : retained[(int)plan]) >= _choices.Target)
                    chosen = plan;
            return chosen;
        }

        private double Retained(Plan plan)
        {
            if (plan <= Plan.Punctuation)
                return _profile.Retained(plan == Plan.Special ? 2 : 1);
            _profile.MarkFrequent(Frequent(_prompt), plan == Plan.Local ? _prompt - _window : _prompt);
            return plan == Plan.Local ? _profile.RetainedWithLocal() : _profile.RetainedWithFrequent();
        }

        public override bool Yields => _choices.Yields;

        public override bool Yield(in KvObservation seen, KeepSet keep)
        {
            int cheapest = -1;
            for (int group = 0; group < _plans.Length && _started; group++)
                if (_plans[group] > Plan.Special && (cheapest < 0 || Loss(group) < Loss(cheapest)))
                    cheapest = group;
            if (cheapest < 0)
                return false;
            _plans[cheapest]--;
            Keep(seen, cheapest, keep);
            CountRanking();
            return true;
        }

        /// <summary>Attention that a head loses with the next cheaper plan, as the prompt showed it.</summary>
        private double Loss(int group) =>
            _retained[group * PlanCount + (int)_plans[group]] - _retained[group * PlanCount + (int)_plans[group] - 1];

        /// <summary>Keeps what the head's plan allows of what it holds.</summary>
        private void Keep(in KvObservation seen, int group, KeepSet keep)
        {
            Plan plan = _plans[group];
            ReadOnlySpan<int> positions = seen.Positions(group);
            ReadOnlySpan<float> sums = seen.ColumnSums.Slice(group * seen.SumStride, positions.Length);
            int local = plan == Plan.Local ? seen.ComputedTokens - _window : int.MaxValue;
            _profile.Rank(positions.Length);
            for (int slot = 0; slot < positions.Length; slot++)
                if (positions[slot] < local && !IsClassed(plan, positions[slot], seen.Tokens[positions[slot]]))
                    _profile.AddRanked(slot, positions[slot], sums[slot]);
            _ranked[group] = _profile.MarkRanked(plan < Plan.Frequent ? 0 : Frequent(seen.ComputedTokens));
            keep.Restrict(group);
            for (int slot = 0; slot < positions.Length; slot++)
                if (!_profile.IsDropped(slot))
                    keep.Keep(group, slot);
        }

        /// <summary>A token was appended, in the last slot: keep it or not, and keep to the budget.</summary>
        private void Continue(in KvObservation seen, int group, KeepSet keep)
        {
            Plan plan = _plans[group];
            int newest = seen.ComputedTokens - 1, last = seen.Lengths[group] - 1;
            if (plan == Plan.Full)
                return;
            if (plan < Plan.Frequent)
            {
                if (!IsClassed(plan, newest, seen.Tokens[newest]))
                    keep.Evict(group, last);
                return;
            }

            // The token that the budget now has to pay for: the newest, or the one that has just left the window.
            int aged = plan == Plan.Local ? newest - _window : newest;
            if (aged >= 0 && !IsClassed(plan, aged, seen.Tokens[aged]))
                _ranked[group]++;
            if (_ranked[group] <= Frequent(seen.ComputedTokens))
                return;
            _ranked[group]--;
            int young = seen.ComputedTokens - (plan == Plan.Local ? _window : _choices.Protected);
            int slot = Weakest(seen, group, young);
            keep.Evict(group, slot >= 0 ? slot : Weakest(seen, group, aged + 1));
        }

        /// <summary>Slot of the least attended token before a position that no class protects, the highest position of equal ones; −1 = none.</summary>
        private int Weakest(in KvObservation seen, int group, int before)
        {
            ReadOnlySpan<int> positions = seen.Positions(group);
            ReadOnlySpan<float> sums = seen.ColumnSums.Slice(group * seen.SumStride, positions.Length);
            (int weakest, float least) = (-1, float.PositiveInfinity);
            for (int slot = 0; slot < positions.Length; slot++)
            {
                // Nearly every slot ends here, and every lane of every sequence comes by in every step: several at a time.
                if (slot <= positions.Length - Vector<float>.Count && NoneIsWeaker(sums[slot..], least, positions[slot..], before))
                    slot += Vector<float>.Count - 1;
                if (sums[slot] > least)
                    continue;
                int position = positions[slot];
                if (position >= before || (sums[slot] == least && weakest >= 0 && position < positions[weakest]))
                    continue;
                if (!IsClassed(Plan.Punctuation, position, seen.Tokens[position]))
                    (weakest, least) = (slot, sums[slot]);
            }

            return weakest;
        }

        /// <summary>No slot of the next vector was attended less and stands before that position.</summary>
        private static bool NoneIsWeaker(ReadOnlySpan<float> sums, float least, ReadOnlySpan<int> positions, int before) =>
            (Vector.LessThanOrEqual(new Vector<float>(sums), new Vector<float>(least)) & Vector.LessThan(new Vector<int>(positions), new Vector<int>(before)))
            == Vector<int>.Zero;

        private int Frequent(int tokens) => (int)Math.Ceiling(_choices.FrequentShare * (_choices.Grows ? tokens : _prompt));

        private bool IsSpecial(int position, int token) => position < _choices.Sinks || _classes.IsSpecial(token);

        private bool IsClassed(Plan plan, int position, int token) => IsSpecial(position, token) || (plan > Plan.Special && _classes.IsPunctuation(token));

        private void CountRanking()
        {
            _ranking = 0;
            foreach (Plan plan in _plans)
                _ranking += plan is Plan.Frequent or Plan.Local ? 1 : 0;
        }
    }
}
