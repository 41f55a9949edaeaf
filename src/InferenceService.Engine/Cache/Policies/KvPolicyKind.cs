using System.Collections.Immutable;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>A policy before its option values are chosen: name, options, and how to make an instance. Immutable.</summary>
public sealed class KvPolicyKind
{
    private readonly Func<KvPolicyValues, IKvPolicy> _create;
    private readonly ImmutableArray<KvPolicyOption> _own;

    /// <summary>States a kind.</summary>
    /// <param name="name">Name in configuration, requests and metrics.</param>
    /// <param name="meaning">What it keeps, in one line.</param>
    /// <param name="options">Its options, besides those of <see cref="PackedKvPolicy"/>, which every policy has.</param>
    /// <param name="create">Makes an instance; may refuse values that do not fit each other.</param>
    internal KvPolicyKind(string name, string meaning, ImmutableArray<KvPolicyOption> options, Func<KvPolicyValues, IKvPolicy> create) =>
        (Name, Meaning, Options, _own, _create) = (name, meaning, [.. options, .. PackedKvPolicy.Options], options, create);

    /// <summary>Name in configuration, requests and metrics.</summary>
    public string Name { get; }

    /// <summary>What it keeps, in one line.</summary>
    public string Meaning { get; }

    /// <summary>Its options.</summary>
    public ImmutableArray<KvPolicyOption> Options { get; }

    /// <summary>An instance; options that are not named take their defaults.</summary>
    /// <param name="values">Option values by name, as JSON or configuration spell them. Null = all defaults.</param>
    /// <exception cref="KvPolicyException">An option is unknown or its value lies outside its range.</exception>
    public IKvPolicy Create(IReadOnlyDictionary<string, string>? values = null)
    {
        foreach (string name in values?.Keys ?? [])
            if (!Options.Any(option => option.Name == name))
                throw new KvPolicyException(name, $"{Name} has no such option; known: {KnownOptions()}.");
        return PackedKvPolicy.Of(_create(new KvPolicyValues(_own, values)), new KvPolicyValues(PackedKvPolicy.Options, values));
    }

    private string KnownOptions() => Options.IsEmpty ? "none" : string.Join(", ", Options.Select(option => option.Name));
}

/// <summary>The option values of one policy, checked. Immutable.</summary>
internal sealed class KvPolicyValues
{
    private readonly ImmutableArray<KvPolicyOption> _options;
    private readonly double?[] _values;
    private readonly IReadOnlyDictionary<string, string>? _given;

    public KvPolicyValues(ImmutableArray<KvPolicyOption> options, IReadOnlyDictionary<string, string>? given)
    {
        (_options, _given) = (options, given);
        _values = [.. options.Select(option => given is not null && given.TryGetValue(option.Name, out string? text) ? option.Read(text) : option.Default)];
    }

    /// <summary>The value is not the default.</summary>
    public bool IsGiven(string name) => _given?.ContainsKey(name) == true;

    /// <summary>A count.</summary>
    public int Count(string name) => (int)Number(name)!.Value;

    /// <summary>A number; null = the model decides.</summary>
    public double? Number(string name) => _values[Index(name)];

    /// <summary>Yes or no.</summary>
    public bool Switch(string name) => Number(name) == 1;

    /// <summary>The word.</summary>
    public string Word(string name) => _options[Index(name)].Words[Count(name)];

    /// <summary>All values as <c>name=value</c>, comma-separated.</summary>
    public override string ToString() => string.Join(',', _options.Zip(_values, (option, value) =>
        $"{option.Name}={(value is double known ? option.Format(known) : "auto")}"));

    private int Index(string name)
    {
        for (int i = 0; i < _options.Length; i++)
            if (_options[i].Name == name)
                return i;
        throw new KeyNotFoundException(name);
    }
}
