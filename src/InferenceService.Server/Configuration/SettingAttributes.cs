namespace InferenceService.Server.Configuration;

/// <summary>The value must be one of these words; words of features that are not built yet are refused by name.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OneOfAttribute(params string[] allowed) : Attribute
{
    /// <summary>Words that work.</summary>
    public string[] Allowed { get; } = allowed;

    /// <summary>Words that are known but not supported by this build.</summary>
    public string[] NotYet { get; init; } = [];
}

/// <summary>Range of a duration, in seconds.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SecondsAttribute(double minimum, double maximum) : Attribute
{
    /// <summary>Shortest, in seconds.</summary>
    public double Minimum { get; } = minimum;

    /// <summary>Longest, in seconds.</summary>
    public double Maximum { get; } = maximum;
}

/// <summary>Shown as <c>***</c> wherever configuration is printed.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SecretAttribute : Attribute;

/// <summary>A list of records that the highest source replaces as a whole; other record lists merge entry by entry.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ReplacedAsAWholeAttribute : Attribute;

/// <summary>
/// A map that refines a named sibling: entries that a source wrote for another value of the sibling than the one in force do not count.
/// </summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class RefinesAttribute(string sibling) : Attribute
{
    /// <summary>Property of the same record.</summary>
    public string Sibling { get; } = sibling;
}

/// <summary>Property of a record that takes the value when an entry is written as a plain string.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ScalarFormAttribute : Attribute;
