using System.Globalization;
using System.Text.Json;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting;

/// <summary>The KV policies that one model can serve as it is loaded, and what a request may choose among them. Any thread.</summary>
public sealed class PolicyMenu
{
    private readonly KvCacheOptions _options;
    private readonly PolicyBounds _bounds;
    private readonly KvLayout _layout;
    private readonly ModelConfig _config;
    private readonly string[] _allowed;
    private volatile Standing _default;

    private PolicyMenu(KvCacheOptions options, PolicyBounds bounds, IKvPolicy policy, KvLayout layout, ModelConfig config)
    {
        (_options, _bounds, _layout, _config) = (options, bounds, layout, config);
        _default = new Standing(policy, options.OptionsOf(policy.Name));
        _allowed = options.AllowedPolicies.Count == 0 ? [.. KvPolicyRegistry.Names] : [options.Policy, .. options.AllowedPolicies];
        Names = [.. KvPolicyRegistry.Names.Where(name => _allowed.Contains(name) && Incompatible(KvPolicyRegistry.Create(name)) is null)];
        Sums = Names.Aggregate(policy.Sums, (sums, name) => sums | KvPolicyRegistry.Create(name).Sums);
    }

    /// <summary>Policy of requests that choose none. An operator may change it: read it once a request.</summary>
    public IKvPolicy Default => _default.Policy;

    /// <summary>Names that a request may choose, sorted; the default's is among them.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Attention sums that a policy which can be chosen may want.</summary>
    internal AttentionSums Sums { get; }

    /// <summary>Reports are part of every answer.</summary>
    internal bool ReportsAlways => _options.Report;

    /// <summary>Finds the layout that configuration asks for and checks it against every policy it names.</summary>
    /// <param name="options">The section.</param>
    /// <param name="config">The checkpoint, with the context that it is served with: a window beyond that hides nothing.</param>
    /// <param name="layout">Whose cache each layer reads, and which lanes keep together.</param>
    /// <exception cref="CheckpointException">A policy cannot serve this checkpoint, or not with that grouping.</exception>
    internal static PolicyMenu For(KvCacheOptions options, ModelConfig config, out KvLayout layout)
    {
        IKvPolicy policy = KvPolicyRegistry.Create(options.Policy, options.OptionsOf(options.Policy));
        layout = policy.Layout(config);
        KvGrouping need = layout.Grouping, grouping = need;
        string neediest = policy.Name;
        foreach (string name in options.AllowedPolicies)
        {
            KvGrouping other = KvPolicyRegistry.Create(name).Layout(config).Grouping;
            if (other > need)
                (need, neediest) = (other, name);
        }

        if (Enum.TryParse(options.Grouping, ignoreCase: true, out KvGrouping stated))
        {
            if (stated < need)
                throw new CheckpointException($"KvCache:Grouping: {Word(stated)} is too coarse for the KV policy {neediest}, which needs {Word(need)}; leave it at auto.");
            need = stated;
        }

        if (need != grouping)
            layout = new KvLayout(layout.SourceLayer, layout.KvHeads, need, layout.PromptPasses);
        PolicyBounds.Parse(options.PolicyBounds, out PolicyBounds? bounds);
        return new PolicyMenu(options, bounds!, policy, layout, config);
    }

    /// <summary>What a request asks for, or why it cannot have it; never something else.</summary>
    internal IKvPolicy? Choose(KvPolicyField wanted, out ApiError? error) => Choose(wanted, out _, out error);

    /// <summary>Gives requests that choose none another policy from now on: one that a request could choose. Null, or why not.</summary>
    internal ApiError? ChangeDefault(KvPolicyField wanted)
    {
        if (Choose(wanted, out Dictionary<string, string> values, out ApiError? error) is { } policy)
            _default = new Standing(policy, values);
        return error;
    }

    private IKvPolicy? Choose(KvPolicyField wanted, out Dictionary<string, string> values, out ApiError? error)
    {
        (error, values) = (null, []);
        if (wanted.Problem is { } problem)
        {
            error = NotAllowed($"kv_policy {problem}. {CanServe}");
            return null;
        }

        if (KvPolicyRegistry.Find(wanted.Name) is not { } kind)
        {
            error = NotAllowed($"kv_policy: there is no policy \"{JsonNumber.Clean(wanted.Name)}\"{NearestName.Hint(wanted.Name, Names)}. {CanServe}");
            return null;
        }

        if (!_allowed.Contains(kind.Name))
        {
            error = NotAllowed($"kv_policy: this model does not offer {kind.Name}. {CanServe}");
            return null;
        }

        if (wanted.Options.Keys.FirstOrDefault(name => !kind.Options.Any(option => option.Name == name)) is { } unknown)
        {
            string known = kind.Options.IsEmpty ? "none" : string.Join(", ", kind.Options.Select(option => option.Name));
            error = NotAllowed($"kv_policy: {kind.Name} has no option \"{JsonNumber.Clean(unknown)}\" (it has {known}). {CanServe}");
            return null;
        }

        // The model's own policy begins with the values that the model has for it, any other with its defaults; both with the model's bits.
        values = OptionsOf(kind.Name);
        if (wanted.Options.ContainsKey("key_bits") || wanted.Options.ContainsKey("value_bits"))
        {
            // One of them stands for both.
            values.Remove("key_bits");
            values.Remove("value_bits");
        }

        foreach ((string option, string value) in wanted.Options)
            values[option] = value;
        return Create(kind, values, out error);
    }

    /// <summary>Writes the default policy as a request would write it: <c>{"name": …, options}</c>.</summary>
    internal void WriteDefault(Utf8JsonWriter json)
    {
        Standing now = _default;
        json.WriteStartObject();
        json.WriteString("name"u8, now.Policy.Name);
        foreach (KvPolicyOption option in KvPolicyRegistry.Find(now.Policy.Name)!.Options)
        {
            double? value = now.Values.TryGetValue(option.Name, out string? text) ? option.Read(text) : option.Default;
            if (value is { } number && option.Words.IsEmpty)
                json.WriteNumber(option.Name, number);
            else if (value is { } word)
                WriteWord(json, option.Name, option.Format(word));
        }

        json.WriteEndObject();
    }

    /// <summary>A policy that cannot be had, with the field at fault.</summary>
    private static ApiError NotAllowed(string message) => new(400, "invalid_request_error", "kv_policy_not_allowed", message, "kv_policy");

    private static void WriteWord(Utf8JsonWriter json, string name, string word)
    {
        if (word is "true" or "false")
            json.WriteBoolean(name, word == "true");
        else if (int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out int number))
            json.WriteNumber(name, number);
        else
            json.WriteString(name, word);
    }

    /// <summary>A grouping as configuration spells it.</summary>
    internal static string Word(KvGrouping grouping) => grouping.ToString().ToLowerInvariant();

    // Where an operator has changed the default, its options are those of the change; any other policy has the configured ones.
    private Dictionary<string, string> OptionsOf(string policy)
    {
        Standing now = _default;
        return policy == now.Policy.Name ? new Dictionary<string, string>(now.Values) : _options.OptionsOf(policy);
    }

    private string CanServe => $"This model can serve: {string.Join(", ", Names)}.";

    private IKvPolicy? Create(KvPolicyKind kind, Dictionary<string, string> values, out ApiError? error)
    {
        error = null;
        try
        {
            IKvPolicy policy = kind.Create(values);
            if ((Incompatible(policy) ?? Unobservable(policy)) is { } reason)
                error = new ApiError(400, "invalid_request_error", "kv_policy_incompatible", $"kv_policy: {reason} {CanServe}", "kv_policy");
            else if (_bounds.Refuse(kind, values) is { } outside)
                error = NotAllowed($"kv_policy: {outside}. {CanServe}");
            else
                return policy.Name == Default.Name && policy.Settings == Default.Settings ? Default : policy;
        }
        catch (KvPolicyException exception)
        {
            error = NotAllowed($"kv_policy: {exception.Message} {CanServe}");
        }

        return null;
    }

    private string? Unobservable(IKvPolicy policy) => (policy.Sums & ~Sums) == 0
        ? null
        : $"{policy.Name} with gqa min observes every query head, and this model was loaded without memory for that; gqa min must be its own policy's.";

    // A finer layout serves a coarser policy, never the reverse; blocks are quantised in as many bits as the pool was made for, or not at all.
    private string? Incompatible(IKvPolicy policy)
    {
        int bits = policy.Packing.Bits, loaded = _options.PackedBits;
        if (bits > 0 && bits != loaded)
            return $"{policy.Name} with key_bits {bits} needs blocks of {bits} bits, and this model was loaded with {(loaded == 0 ? "none that are quantised" : $"blocks of {loaded}")}.";
        try
        {
            KvLayout wanted = policy.Layout(_config);
            if (!wanted.SourceLayer.AsSpan().SequenceEqual(_layout.SourceLayer.AsSpan()))
                return $"{policy.Name} shares caches between other layers than this model was loaded with.";
            return wanted.Grouping <= _layout.Grouping
                ? null
                : $"{policy.Name} needs a cache that is grouped by {Word(wanted.Grouping)}, and this model was loaded with one grouped by {Word(_layout.Grouping)}.";
        }
        catch (CheckpointException refusal)
        {
            return refusal.Message;
        }
    }

    private sealed record Standing(IKvPolicy Policy, Dictionary<string, string> Values);
}
