using System.Collections.Immutable;
using System.Globalization;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>One option of a policy: a number in a range, or one of a few words. Immutable.</summary>
/// <remarks>A value is a double everywhere; a word's value is its place in <see cref="Words"/>.</remarks>
public sealed record KvPolicyOption
{
    /// <summary>Name in configuration and requests.</summary>
    public required string Name { get; init; }

    /// <summary>What it does, in one line.</summary>
    public required string Meaning { get; init; }

    /// <summary>Value when none is given; null = the model decides, see <see cref="Meaning"/>.</summary>
    public required double? Default { get; init; }

    /// <summary>Lowest value.</summary>
    public required double Low { get; init; }

    /// <summary>Highest value.</summary>
    public required double High { get; init; }

    /// <summary>"tokens", "share", or empty.</summary>
    public string Unit { get; init; } = "";

    /// <summary>Only whole numbers.</summary>
    public bool IsInteger { get; init; }

    /// <summary>The words of an option that is not a number; empty otherwise.</summary>
    public ImmutableArray<string> Words { get; init; } = [];

    /// <summary>A count.</summary>
    public static KvPolicyOption Count(string name, int byDefault, int low, int high, string meaning) =>
        new() { Name = name, Meaning = meaning, Default = byDefault, Low = low, High = high, Unit = "tokens", IsInteger = true };

    /// <summary>A real number.</summary>
    public static KvPolicyOption Number(string name, double? byDefault, double low, double high, string unit, string meaning) =>
        new() { Name = name, Meaning = meaning, Default = byDefault, Low = low, High = high, Unit = unit };

    /// <summary>One of a few words; the first is the default.</summary>
    public static KvPolicyOption Choice(string name, string meaning, params ImmutableArray<string> words) =>
        new() { Name = name, Meaning = meaning, Default = 0, Low = 0, High = words.Length - 1, IsInteger = true, Words = words };

    /// <summary>Yes or no.</summary>
    public static KvPolicyOption Switch(string name, bool byDefault, string meaning) =>
        new() { Name = name, Meaning = meaning, Default = byDefault ? 1 : 0, Low = 0, High = 1, IsInteger = true, Words = ["false", "true"] };

    private const string Auto = "auto";

    /// <summary>Name of <see cref="UnderPressure"/>.</summary>
    internal const string UnderPressureName = "under_pressure";

    /// <summary>May a request keep less than it has to while the pool is full? Off by default: what it says then depends on the company it has.</summary>
    internal static KvPolicyOption UnderPressure(string what) => Switch(UnderPressureName, false, $"when the pool is full {what}, before anybody is preempted");

    /// <summary>What a value may be, for messages: "0 to 4096", "mean or min".</summary>
    public string Range =>
        (Words.IsEmpty ? string.Create(CultureInfo.InvariantCulture, $"{Low} to {High}") : string.Join(" or ", Words)) + (Default is null ? $" or {Auto}" : "");

    /// <summary>A value from its text; null = the model decides, where that is the default.</summary>
    /// <exception cref="KvPolicyException">It is not a value of this option.</exception>
    public double? Read(string text) => Default is null && text.Equals(Auto, StringComparison.OrdinalIgnoreCase) ? null : Parse(text);

    /// <summary>A value from its text, as JSON or configuration spell it.</summary>
    /// <exception cref="KvPolicyException">It is not a value of this option.</exception>
    public double Parse(string text)
    {
        int word = Words.IndexOf(text, 0, StringComparer.OrdinalIgnoreCase);
        if (word >= 0)
            return word;
        const NumberStyles plain = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        double value = double.NaN;
        bool valid = Words.IsEmpty && !text.StartsWith('+') && double.TryParse(text, plain, CultureInfo.InvariantCulture, out value);
        if (!valid || !(value >= Low && value <= High) || (IsInteger && value != Math.Floor(value)))
            throw new KvPolicyException(Name, $"{Name} must be {(IsInteger && valid ? "a whole number from " : "")}{Range}, got {Shown(text)}.");
        return value;
    }

    /// <summary>A value as <see cref="Parse"/> reads it.</summary>
    public string Format(double value) => Words.IsEmpty ? value.ToString(CultureInfo.InvariantCulture) : Words[(int)value];

    private static string Shown(string text)
    {
        const int most = 40;
        string line = string.Concat(text.Select(c => char.IsControl(c) || char.IsSurrogate(c) || char.GetUnicodeCategory(c) == UnicodeCategory.Format ? '?' : c));
        return $"\"{(line.Length <= most ? line : line[..most] + "…")}\"";
    }
}

/// <summary>A policy cannot be made from what was asked; the message names option, value and range.</summary>
/// <param name="option">The option at fault; null = the name of the policy itself.</param>
/// <param name="message">One line.</param>
public sealed class KvPolicyException(string? option, string message) : Exception(message)
{
    /// <summary>The option at fault; null = the name of the policy itself.</summary>
    public string? Option => option;
}
