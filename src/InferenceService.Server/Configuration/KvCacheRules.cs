using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Server.Configuration;

/// <summary>What must hold within a section <c>Models:N:KvCache</c>, as far as no checkpoint is needed to tell.</summary>
internal static class KvCacheRules
{
    /// <summary>Adds a line for each rule that is broken.</summary>
    /// <param name="options">The section.</param>
    /// <param name="key">Its path.</param>
    /// <param name="spell">How the user wrote a key.</param>
    /// <param name="problems">Where the lines go.</param>
    public static void Check(KvCacheOptions options, string key, Func<string, string> spell, List<string> problems)
    {
        int before = problems.Count;
        CheckName(options.Policy, spell($"{key}:Policy"), problems);
        foreach (string name in options.AllowedPolicies)
            CheckName(name, spell($"{key}:AllowedPolicies"), problems);
        if (problems.Count > before)
            return;
        KvPolicyKind kind = KvPolicyRegistry.Find(options.Policy)!;
        foreach (string option in options.PolicyOptions.Keys)
            CheckOption(option, kind.Options.Select(known => known.Name), kind.Name, spell($"{key}:PolicyOptions:{option}"), problems);
        IEnumerable<string> all = KvPolicyRegistry.Names.SelectMany(name => KvPolicyRegistry.Find(name)!.Options).Select(known => known.Name).Distinct();
        foreach (string option in options.PolicyBounds.Keys)
            CheckOption(option, all, "no policy", spell($"{key}:PolicyBounds:{option}"), problems);
        if (problems.Count > before)
            return;
        try
        {
            int bits = KvPolicyRegistry.Create(options.Policy, options.OptionsOf(options.Policy)).Packing.Bits;
            if (bits > 0 && bits != options.PackedBits)
                problems.Add($"{spell($"{key}:PolicyOptions:{(options.PolicyOptions.ContainsKey("key_bits") ? "key_bits" : "value_bits")}")}: {bits} needs blocks of {bits} bits; set --kv-cache-dtype int{bits} ({key}:Dtype)");
        }
        catch (KvPolicyException exception)
        {
            string at = exception.Option is { } option && options.PolicyOptions.ContainsKey(option) ? $"PolicyOptions:{option}" : "Policy";
            problems.Add($"{spell($"{key}:{at}")}: {exception.Message.TrimEnd('.')}");
            return;
        }

        if (PolicyBounds.Parse(options.PolicyBounds, out PolicyBounds? bounds) is { } wrong)
            problems.Add($"{spell($"{key}:PolicyBounds")}: {wrong}");
        else if (bounds!.Refuse(kind, options.OptionsOf(kind.Name)) is { } outside)
            problems.Add($"{spell($"{key}:PolicyBounds")}: {outside}, and {kind.Name} is the policy of this model");
    }

    private static void CheckName(string policy, string spelled, List<string> problems)
    {
        if (KvPolicyRegistry.Find(policy) is null)
            problems.Add($"{spelled}: \"{policy}\" is not one of {string.Join(", ", KvPolicyRegistry.Names)}{NearestName.Hint(policy, KvPolicyRegistry.Names)}");
    }

    private static void CheckOption(string option, IEnumerable<string> known, string owner, string spelled, List<string> problems)
    {
        if (known.Contains(option))
            return;
        string has = owner == "no policy" ? "has" : "does not have";
        problems.Add($"{spelled}: \"{option}\" is an option that {owner} {has}{NearestName.Hint(option, known)}");
    }
}
